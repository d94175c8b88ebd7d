"""Started by torchrun on two processes: goes through all bases at every layout of two."""

import sys
from pathlib import Path

import torch
from family_parity import build_engine, require_parity, require_round_trip

from pretrain.families import read_shape
from pretrain.layout import Layout
from pretrain.parallel import Place, parallel, process_group

LAYOUTS = {
    "TP2": Layout(tensor=2),
    "TP2+SP": Layout(tensor=2, sequence_parallel=True),
    "PP2": Layout(pipeline=2),
}

WITH_SP = ("llama3", "llama-biased", "qwen3", "gemma", "qwen2-bf16")
"""Sequence parallelism concerns norms and the biases of projections: these bases have every kind of them."""


def check(root: Path, name: str, place: Place, work: Path) -> None:
    """Check one base at one layout; those stored in bf16 are only carried there and back."""
    folder = root / name
    if name.endswith("-bf16"):
        require_round_trip(build_engine(folder, read_shape(folder), place, torch.bfloat16), folder, work)
        return
    require_parity(folder, torch.load(root / f"{name}.pt", weights_only=False), place, work)


def main(root: Path) -> None:
    """Print one line for each base and layout."""
    with process_group():
        for title, layout in LAYOUTS.items():
            with parallel(layout, seed=0) as place:
                for expected in sorted(root.glob("*/config.json")):
                    name = expected.parent.name
                    if layout.sequence_parallel and name not in WITH_SP:
                        continue
                    try:
                        check(root, name, place, root / "work" / title / name)
                    except Exception as error:
                        raise RuntimeError(f"{title} {name}") from error
                    if place.is_main:
                        print("holds:", title, name, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
