"""`hanlm plan`: layouts from a config.json alone, best first, with flags that pretrain takes."""

import json
import re

import memory_peaks
import pytest

from hanlm.cli import main
from hanlm.errors import ConfigError
from pretrain.config import PretrainConfig
from pretrain.layout import Layout
from pretrain.planning.communication import step_traffic
from pretrain.planning.cost import checkpoint_bytes, disk_bytes, training_hours
from pretrain.planning.gpus import GPUS, find_gpu
from pretrain.planning.layouts import search
from pretrain.planning.parts import Training, model_parameters
from pretrain.planning.speed import Machine

LLAMA_7B = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}


@pytest.fixture
def llama_7b(tmp_path):
    folder = tmp_path / "llama-7b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_7B))
    return folder


@pytest.fixture
def show(llama_7b, capsys):
    """Return a function that types `hanlm plan`: its exit code, output and last words."""

    def run(*flags: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["plan", "--model", str(llama_7b), *flags])
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


def shape_7b(**changes):
    return memory_peaks.make_shape(
        num_layers=32, hidden_size=4096, ffn_size=11008, num_heads=32, num_kv_heads=32, head_size=128, vocab_size=32000,
        **changes,
    )  # fmt: skip


def test_llama_7b_has_its_published_parameters():
    assert model_parameters(shape_7b()) == 6_738_415_616


def test_a_plan_from_config_json_alone_names_layouts_hours_cost_and_what_is_too_large(show):
    flags = ("--gpus", "8", "--gpu", "h100", "--tokens", "20e9", "--price-per-gpu-hour", "2")
    code, said, _ = show(*flags)
    assert code == 0
    rows = re.findall(r"^ *\d+\. +(\d+) +(\d+) +(\d+) .*? ([\d,]+) +(\d+)% +([\d,.]+) +([\d,]+)$", said, re.MULTILINE)
    assert len(rows) >= 4
    speeds = [int(row[3].replace(",", "")) for row in rows]
    assert speeds == sorted(speeds, reverse=True)
    for tensor, pipeline, data, speed, _mfu, hours, cost in rows:
        assert int(tensor) * int(pipeline) * int(data) == 8
        assert float(hours.replace(",", "")) == pytest.approx(20e9 / int(speed.replace(",", "")) / 3600, rel=0.01)
        assert int(cost.replace(",", "")) == pytest.approx(float(hours.replace(",", "")) * 8 * 2, rel=0.01)
    _, said, _ = show("--gpus", "2", "--gpu", "h100")
    assert re.search(r"too large: tensor 1 x pipeline 1: needs 8\d GB of 78, most of it for weights \(27 GB\)", said)


def layouts(said: str) -> dict[str, tuple[float, str]]:
    """Return by TP x PP the memory of a GPU and the flags."""
    rows = re.findall(r"^ *\d+\. +(\d+) +(\d+) +\d+ +\d+ x \d+ +([\d.]+) .*\n +(--.*)$", said, re.MULTILINE)
    return {f"{tensor} x {pipeline}": (float(memory), flags) for tensor, pipeline, memory, flags in rows}


def test_the_distributed_optimizer_is_proposed_where_it_makes_a_layout_fit_or_faster(show):
    _, said, _ = show("--gpus", "8", "--show", "50")
    found = layouts(said)
    assert "--distributed-optimizer" in found["1 x 1"][1]  # 125 GB without it
    assert "the optimizer's state over 8 GPUs" in said
    assert all(
        "--distributed-optimizer" not in flags for name, (_, flags) in found.items() if name in ("1 x 8", "8 x 1")
    )
    _, lora, _ = show("--gpus", "8", "--trainable", "lora", "--rows", "none", "--show", "50")
    assert "--distributed-optimizer" not in lora  # hardly anything to share


def test_what_is_trained_decides_memory_operations_and_the_size_of_checkpoints(show, llama_7b):
    (llama_7b / "vocab_report.json").write_text(json.dumps({"num_base_tokens": 30_000}))
    said = {
        name: show("--gpus", "2", "--trainable", name, "--show", "50")[1]
        for name in ("all", "embeddings", "lora", "new_rows")
    }
    assert "1 x 1" not in layouts(said["all"])
    memory = {name: layouts(words)["1 x 2"][0] for name, words in said.items()}
    assert memory["all"] > 1.5 * memory["lora"] > 1.5 * memory["new_rows"] > 6 * 6.7 / 2
    assert memory["all"] > 1.5 * memory["embeddings"] > 1.5 * memory["new_rows"]
    assert (
        "lora: 36.4M parameters are trained; the others have no gradients" in said["lora"]
    )  # 20.0 of LoRA, 16.4 of rows
    assert "new rows: 16.4M parameters are trained" in said["new_rows"]
    operations = {name: float(re.findall(r"([\d.e+]+) operations a token", words)[0]) for name, words in said.items()}
    assert operations["new_rows"] < operations["lora"] < 0.75 * operations["all"]
    checkpoints = {name: float(re.findall(r"a checkpoint takes ([\d.]+) GB", words)[0]) for name, words in said.items()}
    assert checkpoints["all"] == pytest.approx(12 * 6.738, abs=0.06)
    assert checkpoints["new_rows"] == pytest.approx(4 * 6.738 + 8 * 0.0164, abs=0.06)


def test_the_flags_shown_are_ones_that_pretrain_takes_and_can_divide(show, tmp_path):
    _, said, _ = show("--gpus", "16", "--gpus-per-node", "8", "--show", "50")
    shown = re.findall(r"^ +(--[a-z-]+ .*)$", said, re.MULTILINE)
    assert len(shown) > 3
    for line in shown:
        words = line.split()
        options = {}
        for i, word in enumerate(words):
            if word.startswith("--"):
                is_flag = i + 1 == len(words) or words[i + 1].startswith("--")
                options[word[2:].replace("-", "_")] = True if is_flag else int(words[i + 1])
        config = PretrainConfig(
            model=tmp_path, tokens=(tmp_path,), out=tmp_path, steps=1, global_batch_size=256, **options
        )
        config.micro_batch(data_size=config.layout.data_size(16))
        assert config.layout.sequence_parallel == (config.layout.tensor > 1)


def test_without_a_layout_that_fits_it_says_by_how_much_and_what_to_do(show):
    code, said, words = show("--gpus", "1", "--gpu", "rtx4090")
    assert code == 2
    assert "too large: tensor 1 x pipeline 1" in said
    assert re.search(r"the smallest needs \d+ GB of 22, most of it for .*: take more GPUs", words)


def test_a_layout_that_the_model_rules_out_is_listed_with_the_reason(show):
    _, said, _ = show("--gpus", "24", "--gpus-per-node", "24", "--global-batch-size", "240")
    assert re.search(r"impossible: tensor 3 x pipeline 1.*does not divide the model's 32 attention heads", said)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--gpus", "0"), "--gpus must be at least 1"),
        (("--gpus", "12"), "--gpus 12 is not a whole number of servers of 8"),
        (("--gpus", "8", "--gpu", "tpu"), "--gpu tpu is not in the table; expected one of"),
        (("--gpus", "8", "--efficiency", "1.5"), "--efficiency must be in"),
        (("--gpus", "8", "--tokens", "-1"), "--tokens must be positive"),
        (("--gpus", "8", "--seq-length", "8192"), "--seq-length 8192 is beyond the model's 4096 positions"),
    ],
)
def test_wrong_flags_are_refused_in_one_sentence(show, flags, words):
    code, said, last = show(*flags)
    assert code == 2
    assert words in said + last
    assert "Traceback" not in last


def test_a_gpu_beside_the_table_is_described_by_flags(show):
    _, small, _ = show("--gpus", "8", "--gpu", "h100", "--gpu-memory-gb", "40")
    _, large, _ = show("--gpus", "8", "--gpu", "h100", "--gpu-memory-gb", "192")
    assert "too large: tensor 1 x pipeline 1" in small
    assert "too large" not in large


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--trainable", "new_rows"), "has no new tokens to train rows of"),
        (("--trainable", "new_blocks"), "has no new_blocks; make it deeper with `hanlm expand-blocks`"),
        (("--lora.rank", "4"), "--lora.* needs --trainable lora"),
        (("--trainable", "lora", "--lora.targets", "query_key_value"), "got query_key_value"),
        (("--rows", "all"), "belongs to `trainable: lora` or new_blocks, got it beside all"),
    ],
)
def test_a_plan_of_what_the_model_does_not_have_is_refused(show, flags, words):
    code, said, last = show("--gpus", "8", *flags)
    assert code == 2
    assert words in " ".join((said + last).split())


def test_every_gpu_has_a_source_and_rates_of_the_right_order():
    assert len({gpu.name for gpu in GPUS}) == len(GPUS) > 8
    for gpu in GPUS:
        assert len(gpu.source) > 20
        assert 20 < gpu.memory_gb < 300
        assert 50 < gpu.bf16_tflops < 3000
        assert gpu.network_gb_per_second < gpu.link_gb_per_second < gpu.memory_gb_per_second
    with pytest.raises(ConfigError, match="expected one of"):
        find_gpu("none")


def training(**changes) -> Training:
    return Training(
        **({"layout": Layout(), "micro_batch_size": 1, "seq_length": 2048, "num_micro_batches": 4} | changes)
    )


def test_data_parallel_traffic_is_the_ring_s_and_a_single_process_sends_nothing():
    shape = shape_7b()
    alone = step_traffic(shape, training())
    assert (alone.tensor, alone.pipeline, alone.data) == (0, 0, 0)
    four = step_traffic(shape, training(data_size=4))
    assert four.data == 2 * (4 * model_parameters(shape) * 3 // 4)
    sharded = step_traffic(shape, training(data_size=4, shards_optimizer=True))
    assert sharded.data == 6 * model_parameters(shape) * 3 // 4


def test_tensor_parallel_traffic_is_four_rings_a_layer_and_pipelines_send_the_hidden_state():
    shape, hidden = shape_7b(), 2048 * 4096 * 2
    two = step_traffic(shape, training(layout=Layout(tensor=2)))
    assert two.tensor == 4 * 2 * (4 * 32 + 2) * hidden // 2
    stages = step_traffic(shape, training(layout=Layout(pipeline=4)))
    assert stages.pipeline == 4 * 2 * hidden
    assert stages.tensor == 0


def test_a_slow_network_moves_model_parallelism_up_and_faster_links_never_slow_a_layout():
    machine = Machine(gpu=find_gpu("h100"), num_gpus=16, gpus_per_node=8)
    found = search(shape_7b(), machine, seq_length=2048, global_batch_size=256)
    assert found.fitting
    assert all(p.memory.total <= 78e9 for p in found.fitting)
    assert all(p.memory.total > 78e9 for p in found.too_large)
    for proposal in found.fitting:
        assert proposal.training.world_size == 16
        assert 0 < proposal.mfu < machine.efficiency


def test_costs_are_multiplied_out():
    shape = shape_7b()
    assert checkpoint_bytes(shape) == 12 * model_parameters(shape)
    room = disk_bytes(shape, keep_checkpoints=2, num_models=3, bytes_per_weight=2)
    assert room == (3 * 12 + 3 * 2) * model_parameters(shape)
    assert training_hours(3.6e6, tokens_per_second=1000) == 1
