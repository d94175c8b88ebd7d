"""Losses of every layout beside one process, and of every way to go on at another layout.

    python benchmarks/pretrain_matrix.py [--model MODEL] [--steps 20] [--out rows.json]

Trains a model on the docstrings of installed packages for a few steps, in fp32, on real torchrun processes. The first
table has the largest difference of the loss of a step from that of one process; the second goes on in the middle at
another layout, and compares the steps that follow. Losses of one process are compared with transformers' own loop by
tests/pretrain.
"""

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hanlm.publish import work_folder
from pretrain.config import PretrainConfig
from pretrain.train import pretrain

_ROOT = Path(__file__).parents[1]
LAYOUTS: Mapping[str, tuple[int, dict[str, Any]]] = {
    "1 process": (1, {}),
    "1, recomputed": (1, {"recompute": True}),
    "DP2": (2, {}),
    "DP2, distributed optimizer": (2, {"distributed_optimizer": True}),
    "TP2": (2, {"tensor_parallel": 2}),
    "TP2+SP": (2, {"tensor_parallel": 2, "sequence_parallel": True}),
    "PP2": (2, {"pipeline_parallel": 2}),
    "PP2+VPP2": (2, {"pipeline_parallel": 2, "virtual_pipeline": 2}),
    "PP2+VPP2, recomputed": (2, {"pipeline_parallel": 2, "virtual_pipeline": 2, "recompute": True}),
    "TP2+SP+DP2, distributed optimizer": (
        4,
        {"tensor_parallel": 2, "sequence_parallel": True, "distributed_optimizer": True},
    ),
    "TP2+PP2": (4, {"tensor_parallel": 2, "pipeline_parallel": 2}),
    "PP2+VPP2+DP2, distributed optimizer": (
        4,
        {"pipeline_parallel": 2, "virtual_pipeline": 2, "distributed_optimizer": True},
    ),
    "TP2+SP+PP2+VPP2": (
        4,
        {"tensor_parallel": 2, "sequence_parallel": True, "pipeline_parallel": 2, "virtual_pipeline": 2},
    ),
}
RESUMED = ("1 process", "TP2+SP", "PP2", "PP2+VPP2", "DP2, distributed optimizer")


def prepare(model: Path, folder: Path) -> Path:
    """Return tokens of English text for the model's tokenizer."""
    hanlm = [sys.executable, "-m", "hanlm", "corpus"]
    for command in (
        ["collect", "python-docstrings", "--out", folder / "texts"],
        ["build", "--input", folder / "texts", "--out", folder / "corpus", "--min-han-ratio", "0"],
        ["tokenize", "--corpus", folder / "corpus", "--tokenizer", model, "--out", folder / "tokens"],
    ):
        subprocess.run([*hanlm, *map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder / "tokens"


def train_all(configs: Sequence[PretrainConfig], processes: int, folder: Path) -> None:
    """Train them one after another in the processes of one torchrun."""
    path = folder / "configs.pickle"
    path.write_bytes(pickle.dumps(list(configs)))
    command = [sys.executable, "-W", "ignore", "-m", "hanlm.torchrun", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
    subprocess.run([*command, __file__, "--worker", str(path)], check=True, env=environment, cwd=_ROOT)


def work(path: Path) -> None:
    """Be one of those processes."""
    import torch

    from pretrain.parallel import process_group

    torch.set_num_threads(1)
    with process_group():
        for config in pickle.loads(path.read_bytes()):  # noqa: S301  (written by this script)
            pretrain(config)


def losses(config: PretrainConfig) -> dict[int, float]:
    """Return the loss of every step."""
    rows = map(json.loads, (work_folder(config.out) / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def moved(config: PretrainConfig, to: Mapping[str, Any], out: Path, step: int) -> PretrainConfig:
    """Return the run that goes on from a checkpoint of another one at its own layout."""
    shutil.copytree(work_folder(config.out), work_folder(out), dirs_exist_ok=True)
    (work_folder(out) / "published").unlink()
    sizes = dict.fromkeys(("tensor_parallel", "pipeline_parallel", "virtual_pipeline"), 1)
    plain = sizes | {"sequence_parallel": False, "distributed_optimizer": False}
    return replace(config, out=out, resume_step=step, **(plain | dict(to)))


def difference(got: Mapping[int, float], expected: Mapping[int, float], after: int = 0) -> float:
    """Return the largest difference of a step's loss."""
    return max(abs(got[step] - expected[step]) for step in expected if step > after)


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=_ROOT / "recipes" / "demo" / "base")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, help="Write the rows here as JSON.")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker)
        return
    half = args.steps // 2
    with tempfile.TemporaryDirectory(prefix="pretrain-matrix-") as name:
        folder = Path(name)
        base = PretrainConfig(
            model=args.model,
            tokens=(prepare(args.model, folder),),
            out=folder / "one",
            steps=args.steps,
            seq_length=64,
            global_batch_size=4,
            micro_batch_size=1,
            precision="fp32",
            eval_tokens=0,
            log_every=1,
            save_every=half,
            save_seconds=0,
        )
        runs = {
            title: replace(base, out=folder / f"run-{i}", **flags)
            for i, (title, (_, flags)) in enumerate(LAYOUTS.items())
        }
        for processes in sorted({number for number, _ in LAYOUTS.values()}):
            train_all([runs[title] for title, (number, _) in LAYOUTS.items() if number == processes], processes, folder)
        one = losses(runs["1 process"])
        rows = {title: difference(losses(run), one) for title, run in runs.items()}
        print(
            f"largest difference of a step's loss from one process's, {args.steps} steps "
            f"(loss {one[1]:.3f} to {one[args.steps]:.3f})"
        )
        for title, value in rows.items():
            print(f"{title:36} {value:.1e}")
        onward = {
            (a, b): moved(runs[a], LAYOUTS[b][1], folder / f"moved-{i}-{j}", half)
            for i, a in enumerate(RESUMED)
            for j, b in enumerate(RESUMED)
        }
        for processes in (1, 2):
            train_all([run for (_, b), run in onward.items() if LAYOUTS[b][0] == processes], processes, folder)
        print(f"\nsaved at step {half} (row), gone on at another layout (column): largest difference after it")
        print(" " * 28 + "".join(f"{b:>28}" for b in RESUMED))
        for a in RESUMED:
            print(f"{a:28}" + "".join(f"{difference(losses(onward[a, b]), one, half):28.1e}" for b in RESUMED))
        table = {f"{a} -> {b}": difference(losses(run), one, half) for (a, b), run in onward.items()}
    if args.out:
        args.out.write_text(json.dumps({"layouts": rows, "resumed": table}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
