"""The tokenizer of a fine-tuning run: the base's, with the run's chat template and a pad token."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlm.chat import ALPACA_ZH
from hanlm.errors import InputError
from hanlm.log import say
from hanlm.tokenizing import load_tokenizer, pad_token
from sft.config import SftConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")
_NO_LIMIT = 2**31


def run_tokenizer(config: SftConfig) -> PreTrainedTokenizerBase:
    """Return the base's tokenizer with the run's template and a pad token that is not the end token.

    Raises:
        InputError: If it has no end token, or the run's template cannot be read or does not mark the answers.
    """
    tokenizer: Any = load_tokenizer(config.model, trust_remote_code=config.trust_remote_code)
    tokenizer.model_max_length = _NO_LIMIT  # rows are cut, counted and reported here, without transformers' warning
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad_token(tokenizer))
    if tokenizer.eos_token_id is None:
        raise InputError(f"the tokenizer of {config.model} has no eos token, so no model could learn to stop; add one.")
    own = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    if config.chat_template is not None:
        tokenizer.chat_template = read_template(config.chat_template)
    elif not _MARKER.search(own):
        if own:
            say("the model's own chat template has no generation markers: the Alpaca template takes its place")
        tokenizer.chat_template = ALPACA_ZH
    return tokenizer


def read_template(path: Path) -> str:
    """Return the template in a file, which marks the answers.

    Raises:
        InputError: If it cannot be read, or has no markers.
    """
    try:
        template = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a template: {error}") from error
    if not _MARKER.search(template):
        raise InputError(
            f"{path} has no {{% generation %}} … {{% endgeneration %}} around what the assistant says, so answers "
            "could not be told from prompts; add them, or leave out --chat-template."
        )
    return template
