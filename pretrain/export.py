"""Publishing: a checkpoint becomes a plain Hugging Face folder, on one process, without loading transformers."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hanlm.artifact import read_manifest
from hanlm.model_folder import copy_tokenizer, write_model_card
from hanlm.publish import publish
from hanlm.tokenizing import tokenizer_hash
from pretrain.checkpoint import read_tensor
from pretrain.config import PretrainConfig
from pretrain.convert import HuggingFaceWeights, hugging_face_weights
from pretrain.families import ModelShape

_MAX_SHARD_BYTES = 5 * 2**30
_CONFIGS = ("config.json", "generation_config.json")


def export(
    checkpoint: Path,
    out: Path,
    config: PretrainConfig,
    shape: ModelShape,
    *,
    record: Mapping[str, Any],
    metrics: Path | None = None,
    overwrite: bool,
    keep_work: bool = False,
) -> None:
    """Publish the weights of a checkpoint as a model artifact.

    Args:
        checkpoint: A finished checkpoint.
        out: The artifact.
        config: The run's configuration, recorded in the manifest.
        shape: The model's hyperparameters.
        record: Further manifest keys.
        metrics: ``metrics.jsonl`` to copy.
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
        _write_weights(checkpoint, draft.folder, config.model, shape)
        for name in _CONFIGS:
            if (config.model / name).is_file():
                shutil.copyfile(config.model / name, draft.folder / name)
        copy_tokenizer(config.model, draft.folder)
        if metrics is not None:
            shutil.copyfile(metrics, draft.folder / "metrics.jsonl")
        write_model_card(draft.folder, title=out.name, base=config.model, body=_card(config, record))
        draft.record(**record)


def _write_weights(checkpoint: Path, folder: Path, base: Path, shape: ModelShape) -> None:
    """Write the base's tensors by its own names and in its own precision, in shards of at most 5 GiB."""
    from safetensors.torch import save_file

    source = HuggingFaceWeights(base)
    trained = hugging_face_weights(lambda key: read_tensor(checkpoint, key), shape, source.names)
    tensors = {name: tensor.to(source(name).dtype).contiguous() for name, tensor in trained.items()}
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        if size and size + tensor.nbytes > _MAX_SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor.nbytes
    if len(shards) == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    home: dict[str, str] = {}
    for i, names in enumerate(shards, start=1):
        file = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        save_file({n: tensors[n] for n in names}, folder / file, metadata={"format": "pt"})
        home |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": home}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _card(config: PretrainConfig, record: Mapping[str, Any]) -> str:
    lines = [f"Continued pretraining of `{config.model.name}` with HanLM on Megatron-Core."]
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
