"""Measure a training step of `hanlm pretrain` beside transformers' own, on the same model and batches in one run.

    python benchmarks/pretrain_speed.py [--model DIR] [--precision fp32] [--contestants hanlm trainer compiled]

Prints tokens a second by the wall clock and by processor time, and the ratio to transformers' Trainer. Every contestant
has the same AdamW, clipping, sequence length and batch; the first step, which builds and compiles, does not count; the
rounds alternate, so that a busy machine is busy for all, and each runs in a process of its own. Content does not matter
for speed: the token ids are random.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

SEQ_LENGTH, BATCH, LR = 256, 8, 1e-3
DEFAULT = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 8}


def make_model(folder: Path, vocab_size: int) -> Path:
    """Write a random LLaMA of the demo's size after extension."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        **DEFAULT, num_key_value_heads=4, vocab_size=vocab_size, tie_word_embeddings=True, max_position_embeddings=512
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    return folder


def make_batches(vocab_size: int, count: int) -> list[torch.Tensor]:
    """Return random sequences, one token longer than is trained on."""
    torch.manual_seed(1)
    return [torch.randint(0, vocab_size, (BATCH, SEQ_LENGTH + 1)) for _ in range(count)]


def measure(step: Callable[[int], None], count: int) -> tuple[float, float]:
    """Return tokens a second by the wall clock and by processor time, after one step that does not count."""
    step(0)
    wall, processor = time.perf_counter(), time.process_time()
    for i in range(1, count):
        step(i)
    tokens = (count - 1) * BATCH * SEQ_LENGTH
    return tokens / (time.perf_counter() - wall), tokens / (time.process_time() - processor)


def hanlm(model: Path, batches: list[torch.Tensor], dtype: torch.dtype) -> tuple[float, float]:
    """Step the engine of `hanlm pretrain` in one process."""
    from pretrain.config import Phase, PretrainConfig
    from pretrain.data.batches import Batch
    from pretrain.families import read_shape
    from pretrain.layout import Layout
    from pretrain.megatron.engine import Engine
    from pretrain.megatron.model import build_model
    from pretrain.parallel import parallel
    from pretrain.weights.base_weights import HuggingFaceWeights
    from pretrain.weights.convert import local_weights

    shape = read_shape(model)
    config = PretrainConfig(model=model, tokens=(Path("none"),), out=Path("none"), steps=len(batches), lr=LR)
    with parallel(Layout(), seed=0) as place:
        network = build_model(shape, place, dtype=dtype, seq_length=SEQ_LENGTH)
        names = [name for name, _ in network.named_parameters()]
        weights = local_weights(names, HuggingFaceWeights(model), shape, place, vocab_rows=shape.vocab_size)
        engine = Engine(network, shape, place, weights, config)
        engine.start_phase(Phase(lr=LR, steps=len(batches)), num_base_tokens=0)
        data = [Batch(input_BT=b[:, :-1], label_BT=b[:, 1:].contiguous()) for b in batches]
        return measure(lambda i: (engine.step([data[i]], share=0.5), None)[1], len(batches))


def transformers_loop(
    model: Path, batches: list[torch.Tensor], dtype: torch.dtype, *, compiles: bool = False
) -> tuple[float, float]:
    """Step LlamaForCausalLM by hand: its own loss, torch's AdamW; bf16 by autocast, so that its masters are fp32."""
    from transformers import LlamaForCausalLM

    network: Any = LlamaForCausalLM.from_pretrained(str(model), dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=0.1, fused=True)
    if compiles:
        network = torch.compile(network)

    def step(i: int) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = network(input_ids=batches[i], labels=batches[i]).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return measure(step, len(batches))


def transformers_trainer(model: Path, batches: list[torch.Tensor], dtype: torch.dtype) -> tuple[float, float]:
    """Run transformers' Trainer over the same batches."""
    from transformers import LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_rest: Any) -> None:  # noqa: ARG002
            self.times = (*self.times, (time.perf_counter(), time.process_time()))

        times: tuple[tuple[float, float], ...] = ()

    clock = Clock()
    network = LlamaForCausalLM.from_pretrained(str(model), dtype=torch.float32)
    rows = [{"input_ids": row, "labels": row} for batch in batches for row in batch]
    folder = Path(tempfile.mkdtemp())
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH,
        max_steps=len(batches),
        learning_rate=LR,
        weight_decay=0.1,
        bf16=dtype == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = Trainer(model=network, args=arguments, train_dataset=rows, callbacks=[clock])  # pyright: ignore[reportArgumentType]
    trainer.train()
    tokens = (len(batches) - 1) * BATCH * SEQ_LENGTH
    shutil.rmtree(folder)
    first, last = clock.times[0], clock.times[-1]
    return tokens / (last[0] - first[0]), tokens / (last[1] - first[1])


CONTESTANTS: dict[str, Callable[..., tuple[float, float]]] = {
    "trainer": transformers_trainer,
    "loop": transformers_loop,
    "compiled": partial(transformers_loop, compiles=True),
    "hanlm": hanlm,
}


def main() -> None:
    """Run every contestant for some rounds and print the best of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a LLaMA-family folder; by default a random one of the demo's size")
    parser.add_argument("--vocab-size", type=int, default=14_000, help="of the random model")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=["trainer", "hanlm"])
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    model = args.model or make_model(scratch, args.vocab_size)
    vocab_size = json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    batches = make_batches(vocab_size, args.steps + 1)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    contestants = {"trainer": CONTESTANTS["trainer"]} | {name: CONTESTANTS[name] for name in args.contestants}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, contestant in contestants.items():
            with ProcessPoolExecutor(
                1, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(args.threads,)
            ) as process:
                results[name].append(process.submit(contestant, model, batches, dtype).result())
    shutil.rmtree(scratch)
    best = {name: [max(x) for x in zip(*runs, strict=True)] for name, runs in results.items()}
    print(f"{vocab_size} tokens of vocabulary, {args.precision}, {args.threads} threads, {BATCH} x {SEQ_LENGTH} a step")
    print(f"{'':14}{'tokens/s':>10}{'ratio':>8}{'per cpu s':>12}{'ratio':>8}")
    for name, (wall, processor) in best.items():
        base_wall, base_processor = best["trainer"]
        print(f"{name:14}{wall:10.0f}{wall / base_wall:8.2f}{processor:12.0f}{processor / base_processor:8.2f}")
    if args.out:
        args.out.write_text(json.dumps(best, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
