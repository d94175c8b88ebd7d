"""All parts made, then joined: the files and the manifest's keys of a tokens artifact."""

import json
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from corpora.tokens import slices
from corpora.tokens.encoding import Encoder
from corpora.tokens.join import join_parts
from corpora.tokens.part import Job, finished_part
from corpora.tokens.pool import make_parts, worthwhile_workers
from hanlm.artifact import Artifact
from hanlm.files import replace_text
from hanlm.log import progress, say
from hanlm.provenance import source_hash
from hanlm.publish import Draft
from hanlm.signals import stop_on_signal
from hanlm.token_writer import token_dtype

_IDENTITY = "identity"


def write_tokens(
    corpora: Sequence[Artifact], encoder: Encoder, tokenizer: Path, draft: Draft, *, workers: int | None = None
) -> dict[str, Any]:
    """Write every document of the corpora as token files into the draft; return the manifest's keys.

    Args:
        corpora: Opened and verified.
        encoder: Of the tokenizer; says which engine the workers use.
        tokenizer: Its folder.
        draft: Of the tokens; its ``work`` keeps the parts between tries.
        workers: Processes; every processor by default. The bytes do not depend on it.

    Raises:
        InputError: If there is no document, or what was written does not read back.
        HanLMError: If a worker died.
        Interrupted: If a signal asked to stop.
    """
    # Whole paths: a worker begins in the folder where this process began, which it may have left since.
    job = Job(
        slices=tuple(slices.slices_of(corpora)),
        tokenizer=tokenizer.resolve(),
        engine=encoder.engine,
        parts=(draft.work / "parts").resolve(),
    )
    _open_parts(job, _identity(job, corpora, encoder))
    make_all(job, sum(corpus.manifest["counts"]["bytes_kept"] for corpus in corpora), workers)
    parts = [part for task in range(len(job.slices)) if (part := finished_part(job.part(task))) is not None]
    assert len(parts) == len(job.slices)
    return {
        "datasets": join_parts(parts, draft.folder),
        "vocab_size": encoder.vocab_size,
        "dtype": token_dtype(encoder.vocab_size).__name__,
        "bos_token_id": encoder.bos_token_id,
        "eos_token_id": encoder.eos_token_id,
        "tokenizer_hash": encoder.tokenizer_hash,
    }


def make_all(job: Job, num_bytes: int, workers: int | None) -> None:
    """Make the parts that are not finished yet."""
    found = {task: part for task in range(len(job.slices)) if (part := finished_part(job.part(task))) is not None}
    if found:
        say(f"{len(found)} of {len(job.slices)} parts were finished before")
    missing = [task for task in range(len(job.slices)) if task not in found]
    done = sum(part.num_bytes for part in found.values()) / 1e6
    workers = worthwhile_workers(int(num_bytes - 1e6 * done), workers)
    num_tokens = 0
    with stop_on_signal() as stop, progress(num_bytes / 1e6, "corpus tokenize: MB", done=done) as bar:
        for part in make_parts(job, missing, workers=workers, stop=stop):
            num_tokens += part.num_tokens
            bar.advance(part.num_bytes / 1e6, f"{num_tokens / 1e6:.1f} M tokens")


def _identity(job: Job, corpora: Sequence[Artifact], encoder: Encoder) -> str:
    """Return a hash of all that decides the parts."""
    cuts = [(each.shard.name, each.begin, each.end) for each in job.slices]
    told = [[corpus.hash for corpus in corpora], cuts, encoder.tokenizer_hash, encoder.vocab_size, encoder.engine]
    special = [encoder.bos_token_id, encoder.eos_token_id]
    return sha256(json.dumps([told, special, source_hash()]).encode()).hexdigest()


def _open_parts(job: Job, identity: str) -> None:
    """Keep the parts of an earlier try of the same job; remove others, and what was left half-written."""
    mark = job.parts / _IDENTITY
    if not mark.is_file() or mark.read_text(encoding="utf-8") != identity:
        shutil.rmtree(job.parts, ignore_errors=True)
        job.parts.mkdir(parents=True)
        replace_text(mark, identity)
    for left in job.parts.glob("*.new"):
        shutil.rmtree(left, ignore_errors=True)
