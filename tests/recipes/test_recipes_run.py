"""Recipes of the literature run from end to end on models and texts of test size, and end in what they promise."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from spm_models import train_bpe

from hanlm.artifact import fingerprint, open_artifact

TINY = (
    "pretrained.processes=1",
    "pretrained.seq_length=64",
    "pretrained.global_batch_size=4",
    "pretrained.eval_tokens=200",
    "ppl.max_bytes=500",
    "ppl.num_resamples=20",
)
"""Changes that bring the training of any recipe down to a test's size."""


def run_recipe(name: str, out: Path, changes: Sequence[str]) -> None:
    argv = [sys.executable, "-m", "hanlm", "run", name, "--out", str(out), "--set", *changes]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_chinese_llama_in_its_two_stages_ends_in_a_model_and_the_adapter_that_makes_it(
    tiny_model_folder: Path, chinese_file: Path, tmp_path: Path
):
    lines = [json.loads(line)["text"] for line in chinese_file.read_text(encoding="utf-8").splitlines()]
    spm = train_bpe(tmp_path / "chinese_sp.model", lines, 480)
    out = tmp_path / "run"
    given = [f"base={tiny_model_folder}", f"zh={chinese_file}", f"spm={spm}"]
    lengths = ["pretrained.phases.0.steps=2", "pretrained.phases.1.steps=3"]
    run_recipe("chinese-llama", out, [*given, *lengths, *TINY])

    kinds = {"corpus": "corpus", "extended": "model", "tokens": "tokens", "pretrained": "model", "ppl": "report"}
    artifacts = {name: open_artifact(out / name, kind) for name, kind in (kinds | {"report": "report"}).items()}
    adapter = open_artifact(out / "pretrained.adapter", "adapter")

    # Lineage: every result names the very bytes that it was made from.
    extended, pretrained = artifacts["extended"], artifacts["pretrained"]
    assert extended.manifest["inputs"]["base"]["hash"] == fingerprint(tiny_model_folder)
    assert extended.manifest["inputs"]["spm"]["hash"] == fingerprint(spm)
    assert extended.manifest["inputs"]["corpus0"]["hash"] == artifacts["corpus"].hash
    made_from = {entry["hash"] for entry in pretrained.manifest["inputs"].values()}
    assert {extended.hash, artifacts["tokens"].hash} <= made_from
    hashes = {a.manifest["tokenizer_hash"] for a in (extended, pretrained, artifacts["tokens"], adapter)}
    assert len(hashes) == 1

    steps = [json.loads(line) for line in (out / "pretrained.work" / "metrics.jsonl").read_text().splitlines()]
    assert max(row.get("step", 0) for row in steps) == 5
    report = json.loads((out / "ppl" / "report.json").read_text(encoding="utf-8"))
    assert [model["name"] for model in report["models"]] == ["base", "extended", "pretrained"]
    assert json.loads((out / "summary.json").read_text())["tokens_per_char"]["extended"] < 2

    compare_adapter_with_model(out / "extended", out / "pretrained.adapter", out / "pretrained")


def compare_adapter_with_model(base: Path, adapter: Path, merged: Path) -> None:
    """The two stages together: the adapter, which PEFT puts onto the extended base, gives the published model."""
    import torch
    from peft import PeftModel

    from hanlm.models import load_model

    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], len(settings["target_modules"])) == (8, 32, 7)
    before, after = load_model(base, dtype=torch.float32), load_model(merged, dtype=torch.float32)
    moved = after.get_input_embeddings().weight - before.get_input_embeddings().weight
    assert (moved.abs().amax(dim=1) > 0).float().mean() > 0.5  # rows of the base too, not new ones alone
    ids = torch.arange(300, 320)[None]
    with torch.no_grad():
        expected = after(ids).logits
        assert (before(ids).logits - expected).abs().max() > 1e-3
        got = PeftModel.from_pretrained(before, str(adapter))(ids).logits
    assert (got - expected).abs().max() < 1e-4
