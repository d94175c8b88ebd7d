"""Merging an adapter into its base, checked by what both predict, and written as a plain chat model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlm.chat import attach_template
from hanlm.errors import HanLMError, InputError
from hanlm.model_folder import write_model_card
from hanlm.models import load_model, save_model
from hanlm.tokenizing import load_tokenizer, pad_token

if TYPE_CHECKING:
    from transformers import GenerationConfig

TOLERANCE = 0.01
"""Largest error of the merge as a part of what the adapter changes in the logits (both root mean square).

Merged in float32 the error is rounding, some 1e-5 of the change; a layer left out or a wrong scale is of the order of
the change itself. So one percent parts the two clearly, whatever the size of the logits or of the change.
"""

_BODY = """A chat model made by `hanlm sft`: LoRA (rank {rank}) on {base}, trained on {rows} rows of instructions with
loss on the answers alone, merged. Its conversation template is in `chat_template.jinja`; it ends an answer with
`{eos}`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeCheck:
    """How the merged model's logits compare; root mean squares over the probe rows."""

    effect: float
    """What the adapter changes in the base's logits."""
    merge_error: float
    """What the merge in float32 changes in the adapted model's logits."""
    stored_error: float
    """The same after the weights were rounded to the stored dtype and read back."""


def write_merged(
    base_folder: Path,
    adapter_folder: Path,
    folder: Path,
    *,
    template: str,
    probes: Sequence[Sequence[int]],
    rank: int,
    rows: int,
    trust_remote_code: bool = False,
) -> dict[str, float]:
    """Merge, check, and write the chat model; return the check for the manifest.

    Tied embeddings stay tied, and weights keep the dtype in which the base stores them.

    Args:
        base_folder: The model the adapter was trained on.
        adapter_folder: A saved adapter.
        folder: Where to write.
        template: The chat template to attach.
        probes: Rows of token ids on which the logits are compared.
        rank: Rank of the adapter, for the model card.
        rows: Rows trained on, for the model card.
        trust_remote_code: Whether the base may run Python of its own.

    Raises:
        HanLMError: If the merged model predicts something else than base and adapter do.
    """
    import torch
    from peft import PeftModel

    model: Any = load_model(base_folder, trust_remote_code=trust_remote_code)
    stored = next(model.parameters()).dtype
    model = model.float()
    base_logits = _logits(model, probes)
    adapted = PeftModel.from_pretrained(model, str(adapter_folder))
    adapted_logits = _logits(adapted, probes)
    merged: Any = adapted.merge_and_unload(safe_merge=True)
    merge_error = _distance(_logits(merged, probes), adapted_logits)
    tokenizer = load_tokenizer(base_folder, trust_remote_code=trust_remote_code)
    _save_chat_model(merged.to(stored), tokenizer, base_folder, folder, template)
    if trust_remote_code:  # transformers copies the model's own code, but not the tokenizer's
        for code in base_folder.glob("*.py"):
            shutil.copyfile(code, folder / code.name)
    body = _BODY.format(rank=rank, base=base_folder.name, rows=rows, eos=tokenizer.eos_token)
    write_model_card(folder, title=f"{base_folder.name}, fine-tuned for chat", base=base_folder, body=body)
    read_back = load_model(folder, dtype=torch.float32, trust_remote_code=trust_remote_code)
    check = MergeCheck(
        effect=_distance(adapted_logits, base_logits),
        merge_error=merge_error,
        stored_error=_distance(_logits(read_back, probes), adapted_logits),
    )
    _require_faithful(check, exact=stored == torch.float32)
    return asdict(check)


def generation_settings(base_folder: Path) -> GenerationConfig:
    """Return how the base wants answers drawn, fit to be saved again; its special tokens are left out.

    Some bases (LLaMA 2 is one) name a temperature but not ``do_sample``. transformers loads that and refuses to save
    it; a temperature is of use in sampling alone, so sampling is what they mean.

    Raises:
        InputError: If the base's ``generation_config.json`` cannot be read or could not be saved again.
    """
    from transformers import GenerationConfig

    file = base_folder / "generation_config.json"
    if not file.is_file():
        return GenerationConfig()
    try:
        settings = GenerationConfig.from_pretrained(str(base_folder))
        settings.bos_token_id = settings.eos_token_id = settings.pad_token_id = None
        settings.do_sample = settings.do_sample or not _is_savable(settings)
        settings.validate(strict=True)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file} cannot be used ({error}); mend it or remove it.") from error
    return settings


def _is_savable(settings: GenerationConfig) -> bool:
    try:
        settings.validate(strict=True)
    except ValueError:
        return False
    return True


def _require_faithful(check: MergeCheck, *, exact: bool) -> None:
    errors = {"merged": check.merge_error} | ({"saved": check.stored_error} if exact else {})
    for what, error in errors.items():
        if not error <= TOLERANCE * check.effect:
            raise HanLMError(
                f"the {what} model differs from base and adapter by {error:.3g} in its logits, expected at most "
                f"{TOLERANCE:.0%} of the {check.effect:.3g} that the adapter changes; the merge cannot be trusted."
            )


def _save_chat_model(model: Any, tokenizer: Any, base_folder: Path, folder: Path, template: str) -> None:
    model.generation_config = generation = generation_settings(base_folder)
    generation.bos_token_id = tokenizer.bos_token_id
    generation.eos_token_id = tokenizer.eos_token_id
    generation.pad_token_id = model.config.pad_token_id = pad_token(tokenizer)
    save_model(model, folder, tokenizer_from=base_folder)
    attach_template(folder, template)
    _name_pad_token(folder, str(tokenizer.convert_ids_to_tokens(pad_token(tokenizer))))


def _name_pad_token(folder: Path, pad: str) -> None:
    """Name the pad token where the base names none: many tools would else pad with the end token."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not config.get("pad_token"):
        path.write_text(json.dumps({**config, "pad_token": pad}, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _logits(model: Any, probes: Sequence[Sequence[int]]) -> list[Any]:
    import torch

    with torch.inference_mode():
        return [model(input_ids=torch.tensor([list(ids)])).logits[0].float() for ids in probes]


def _distance(a_TV: list[Any], b_TV: list[Any]) -> float:
    """Return the root mean square of the difference of logits over all probes."""
    total = sum(float((a - b).double().pow(2).sum()) for a, b in zip(a_TV, b_TV, strict=True))
    return (total / sum(a.numel() for a in a_TV)) ** 0.5
