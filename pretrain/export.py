"""Publishing: a checkpoint becomes a plain Hugging Face folder, on one process, without loading transformers."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hanlm.artifact import read_manifest
from hanlm.log import say
from hanlm.model_folder import copy_tokenizer, write_model_card
from hanlm.publish import publish
from hanlm.tokenizing import tokenizer_hash
from pretrain.config import Phase, PretrainConfig, adapter_folder
from pretrain.trainable.adapter import Learned, write_adapter
from pretrain.trainable.blocks import REPORT as BLOCK_REPORT
from pretrain.trainable.trained import trained_rows

_CONFIGS = ("config.json", "generation_config.json", BLOCK_REPORT)


def export(
    checkpoint: Path,
    out: Path,
    config: PretrainConfig,
    write: Callable[[Path, Path], None],
    *,
    record: Mapping[str, Any],
    metrics: Path | None = None,
    report: Callable[[Path], None] | None = None,
    overwrite: bool,
    keep_work: bool = False,
) -> None:
    """Publish the weights of a checkpoint as a model artifact.

    Args:
        checkpoint: A finished checkpoint.
        out: The artifact.
        config: The run's configuration, recorded in the manifest.
        write: Writes a checkpoint's weights into a folder.
        record: Further manifest keys.
        metrics: ``metrics.jsonl`` to copy.
        report: Writes the run's page to the path it is given.
        overwrite: Whether a finished ``out`` may be replaced.
        keep_work: Whether ``OUT.work`` stays.
    """
    inputs = {"model": config.model} | {f"tokens_{i}": path for i, path in enumerate(config.tokens)}
    with publish(
        out,
        kind="model",
        config=config,
        inputs=inputs,
        seed=config.seed,
        tokenizer_hash=tokenizer_hash(config.model),
        overwrite=overwrite,
        keep_work=keep_work,
    ) as draft:
        write(checkpoint, draft.folder)
        for name in _CONFIGS:
            if (config.model / name).is_file():
                shutil.copyfile(config.model / name, draft.folder / name)
        copy_tokenizer(config.model, draft.folder)
        if metrics is not None:
            shutil.copyfile(metrics, draft.folder / "metrics.jsonl")
        if report is not None:
            report(draft.folder / "report.html")
        write_model_card(draft.folder, title=out.name, base=config.model, body=_card(config, record))
        draft.record(**record)


def export_adapter(
    config: PretrainConfig,
    phases: Sequence[Phase],
    learned: Callable[[Sequence[int]], Learned],
    *,
    num_base_tokens: int,
    vocab_size: int,
) -> None:
    """Publish what LoRA learned, and the rows of the vocabulary that trained with it, as ``OUT.adapter``.

    PEFT loads it onto the run's base. A run that trained the base's other weights too has none: an adapter cannot
    hold them.

    Args:
        config: The run's configuration, recorded in the manifest.
        phases: Those of the run.
        learned: Returns what was learned, with the rows of these tokens.
        num_base_tokens: Tokens before the new ones; 0 where there are no new ones.
        vocab_size: Rows of the base's embedding.
    """
    if any(phase.trainable in ("all", "new_blocks") for phase in phases):
        say("no adapter beside the model: the run trained the layers' own weights too, which an adapter cannot hold")
        return
    trained = {trained_rows(phase, has_new=num_base_tokens > 0) for phase in phases}
    first = 0 if "all" in trained else num_base_tokens if "new" in trained else vocab_size
    with publish(
        adapter_folder(config.out),
        kind="adapter",
        config=config,
        inputs={"model": config.model},
        seed=config.seed,
        tokenizer_hash=tokenizer_hash(config.model),
        overwrite=True,
    ) as draft:
        write_adapter(draft.folder, learned(range(first, vocab_size)), config.lora, base=config.model)


def _card(config: PretrainConfig, record: Mapping[str, Any]) -> str:
    engines = {"megatron": "Megatron-Core", "accelerate": "transformers and accelerate"}
    lines = [f"Continued pretraining of `{config.model.name}` with HanLM on {engines[config.backend]}."]
    for path in config.tokens:
        manifest = read_manifest(path) or {}
        for entry in manifest.get("datasets", []):
            if entry["split"] == "train":
                lines.append(f"- trained on {entry['domain']} ({entry['lang']}), {entry['num_tokens']} tokens on hand")
    lines.append(
        f"\n{record['counts']['steps']} steps, {record['counts']['tokens']} tokens seen, "
        f"sequences of {config.seq_length} tokens."
    )
    if results := record.get("bits_per_byte"):
        lines.append("\n| held-out text | bits per byte |\n|---|---|")
        lines.extend(f"| {name.removeprefix('valid/')} | {value:.3f} |" for name, value in results.items())
    return "\n".join(lines)
