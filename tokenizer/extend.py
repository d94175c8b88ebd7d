"""``extend-vocab``: add Chinese pieces to a tokenizer, and rows for them to its model."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hanlm.config import NamedPath
from hanlm.errors import ConfigError
from hanlm.publish import publish, refuse_existing
from hanlm.quarantine import MAX_QUARANTINED
from hanlm.records import list_files

MAX_NEW_TOKENS: Final = 1_000_000
"""More is a slip of the hand: four times the largest vocabularies there are."""

type Method = Literal["continued-bpe", "merge-spm"]
type Init = Literal["auto", "random", "mean", "sub-token-mean", "convex-hull", "merge-tree", "calibrated", "distilled"]

FITTED: Final = ("calibrated", "distilled")
"""Ways of starting new rows that load the model and run it on text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtendConfig:
    """Extend a tokenizer, and its model if it has one, with pieces learned from a corpus."""

    base: Path
    """What to extend: a model folder, or a tokenizer alone: its folder, a SentencePiece `tokenizer.model`, a
    byte-level `tokenizer.json`, or a rank file of Llama 3 or Qwen."""
    out: Path
    """Folder of the extended model, or of the tokenizer where the base has no weights."""
    corpus: tuple[Path, ...] = ()
    """Texts to learn from: corpora (their train split), jsonl with a `text` (and `domain`), txt, folders. With `--spm`
    they are only measured on, and may be left out."""
    num_new_tokens: int | Literal["auto"] | None = None
    """How many tokens to add; fewer where the corpus holds no more. `auto` takes the size that the advisor recommends
    for the base's model and the corpus. With `--spm` by default all."""
    advise_for: Path | None = None
    """A model's `config.json` (or folder) whose costs the advisor reckons with, where the base is a tokenizer alone; by
    default LLaMA-2-7B's."""
    method: Method = "continued-bpe"
    """continued-bpe learns what saves most tokens on top of the base; merge-spm is the classic merger, which appends
    the pieces of a Chinese SentencePiece model."""
    spm: Path | None = None
    """With merge-spm: the model to merge, such as `chinese_sp.model`; by default one is trained on the corpus."""
    spm_type: Literal["unigram", "bpe"] = "unigram"
    """With merge-spm: what kind of model is trained where `--spm` names none."""
    compatible: bool = False
    """With `--spm`: repeat the published Chinese-LLaMA merge id by id, with the faults that the report then counts."""
    pieces: Literal["han", "han+punct", "han+punct+space"] = "han+punct+space"
    """What new pieces may hold. With punctuation (and the space beside Chinese) text gets shorter."""
    prior: Literal["jieba", "none"] = "jieba"
    """Learn from jieba's dictionary too, so that everyday words of other domains are not missed."""
    domain_exponent: float = 0.5
    """How much a domain's size counts: 1 weighs every text alike, 0 every domain, so that no small one is starved."""
    compare: tuple[NamedPath, ...] = ()
    """Other tokenizers for the report, `PATH` or `NAME=PATH`: a `tokenizer.model`, a `tokenizer.json`, a folder."""
    prune: bool = False
    """Drop tokens that the corpus never uses and no kept token is made from. With `--num-new-tokens` so many are
    swapped for new ones and the size stays; without it the base only shrinks."""
    init: Init = "auto"
    """How the new rows start. merge-tree: the mean of the two parts a piece is merged from, down to the base's bytes.
    sub-token-mean: of the tokens the base spells it with. convex-hull: a random point between those. mean: of all rows.
    random. calibrated: merge-tree, then fitted to the tokens' frequencies; this loads the model and reads some of the
    corpus. distilled: then trains the new rows a moment; this loads the model in float32. All others stream the
    weights. auto: calibrated, or merge-tree where there is no corpus or the model cannot be loaded."""
    init_steps: int = 60
    """With `--init distilled`: training steps of 8 rows of 128 tokens."""
    pad_to_multiple: int = 1
    """Pad the model's vocabulary to a multiple of this; padding rows belong to no token."""
    max_chars: int = 500_000_000
    """Learn from about so many characters (1.5 GB of Chinese), a sample of each large domain that the texts decide;
    0 takes everything, and memory for its distinct segments."""
    seed: int = 0
    """Of random rows, and of the order of text that rows are fitted to."""
    workers: int = 0
    """Threads; 0 takes every core. The result does not depend on it. Models that merge-spm trains take 16, whatever it
    says; fitting rows takes as many as torch does."""
    max_quarantined: float = MAX_QUARANTINED
    """Fail when a larger share of the records cannot be read."""
    trust_remote_code: bool = False
    """Accept a base that brings Python code of its own (it is copied, never run here)."""
    overwrite: bool = False
    """Replace a finished result."""

    def __post_init__(self) -> None:
        if isinstance(self.num_new_tokens, int) and not 1 <= self.num_new_tokens <= MAX_NEW_TOKENS:
            raise ConfigError(
                f"expected --num-new-tokens between 1 and {MAX_NEW_TOKENS:,}, or auto; got {self.num_new_tokens:,}."
            )
        if self.num_new_tokens == "auto" and self.method == "merge-spm":
            raise ConfigError(
                "--num-new-tokens auto needs --method continued-bpe, one run of which gives every size; expected a "
                "number with merge-spm: take the one that auto recommends."
            )
        if self.advise_for is not None and self.method == "merge-spm":
            raise ConfigError(
                "--advise-for belongs to --method continued-bpe, whose sizes are advised on; leave it out."
            )
        self._check_ranges()
        if self.method == "continued-bpe" and (self.spm or self.compatible):
            raise ConfigError("--spm and --compatible belong to --method merge-spm; add it, or leave them out.")
        if self.compatible and (self.spm is None or self.num_new_tokens is not None):
            raise ConfigError("--compatible repeats a merge whole: it needs --spm MODEL and no --num-new-tokens.")
        if self.compatible and self.init == "merge-tree":
            raise ConfigError(
                "--init merge-tree needs pieces with ranks, which --compatible has not; take another way."
            )
        if self.resolved_init in FITTED and not self.corpus:
            raise ConfigError(f"--init {self.init} fits the new rows to text; pass --corpus PATH…, or another --init.")
        if self.spm is None and not self.corpus:
            raise ConfigError("expected texts to learn from, got none; pass --corpus PATH….")
        self._check_prune()
        if self.spm is None and self.num_new_tokens is None and not self.prune:
            raise ConfigError("expected how many tokens to add; pass --num-new-tokens N or auto.")

    def _check_prune(self) -> None:
        if self.prune and self.num_new_tokens == "auto":
            raise ConfigError(
                "--prune needs a number of new tokens, or none: a swap keeps the vocabulary's size, while auto looks "
                "for the best one; pass a number such as 6000, or run --prune alone and then auto on its result."
            )
        if self.prune and self.method == "merge-spm":
            raise ConfigError(
                "--prune needs --method continued-bpe; expected no merge-spm: leave it out, or run --prune alone and "
                "merge into its result."
            )

    def _check_ranges(self) -> None:
        for flag, value in (("--pad-to-multiple", self.pad_to_multiple), ("--init-steps", self.init_steps)):
            if value < 1:
                raise ConfigError(f"expected {flag} of at least 1, got {value}.")
        if not 0 <= self.domain_exponent <= 1:
            raise ConfigError(f"expected --domain-exponent between 0 and 1, got {self.domain_exponent}.")
        if self.max_chars < 0:
            raise ConfigError(f"expected --max-chars of 0 (everything) or more, got {self.max_chars}.")
        if self.workers < 0:
            raise ConfigError(f"expected --workers of 0 (every core) or more, got {self.workers}.")
        if not 0 <= self.max_quarantined <= 1:
            raise ConfigError(f"expected --max-quarantined between 0 and 1, got {self.max_quarantined}.")

    @property
    def resolved_init(self) -> Init:
        """The way that ``auto`` stands for."""
        if self.init != "auto":
            return self.init
        return "calibrated" if self.corpus else "merge-tree"

    @property
    def num_workers(self) -> int:
        """The threads that ``workers`` stands for."""
        return self.workers or os.cpu_count() or 1


def _check_init(config: ExtendConfig, has_model: bool) -> None:
    """Refuse a way of starting rows that was asked for by name where no rows are started."""
    if config.init != "auto" and not has_model:
        raise ConfigError(
            f"--init {config.init} says how a model's new rows start, but {config.base} is a tokenizer without a "
            "model; expected a model folder as --base: pass one, or leave --init out."
        )


def plan(config: ExtendConfig) -> list[str]:
    """Return what would happen, after checking the base and that there is text."""
    from tokenizer.compare import read_compared
    from tokenizer.cost import advised_shape
    from tokenizer.families import read_base
    from tokenizer.merge import read_donor
    from tokenizer.model import require_memory, vocabulary_matrices

    refuse_existing(config.out, config.overwrite)
    base = read_base(config.base, trust_remote_code=config.trust_remote_code)
    _check_init(config, base.config is not None)
    files = list_files(config.corpus)
    size = sum(f.stat().st_size for f in files)
    text = f"{len(files):,} {'file' if len(files) == 1 else 'files'} of {size:,} bytes"
    lines = [f"the base has {base.num_tokens:,} tokens; {_most(config)} are added"]
    if config.prune:
        most = f"up to {config.num_new_tokens:,}" if config.num_new_tokens else "all"
        lines.append(f"before that, tokens that never occur in {text} are dropped: {most} that no other is made from")
    if config.spm is not None:
        read_donor(config.spm)
        lines.append(f"they are the pieces of {config.spm}" + (f", measured on {text}" if files else ""))
    elif config.num_new_tokens is not None:
        lines.append(f"they are learned from {text}")
    if config.num_new_tokens == "auto":
        lines.append(f"what a size costs is reckoned for {advised_shape(base, config.advise_for).name}")
    if compared := read_compared(config.compare):
        lines.append(f"the report compares with {', '.join(f'{t.name} ({t.num_tokens:,} tokens)' for t in compared)}")
    if base.config is None:
        return [*lines, f"a tokenizer is written to {config.out}"]
    names = ", ".join(vocabulary_matrices(base))
    if config.init in FITTED:
        require_memory(base, config.init)
    if config.num_new_tokens is None and config.prune:
        return [*lines, f"a model with fewer rows in {names} is written to {config.out}"]
    if config.resolved_init in FITTED:
        lines.append("the model is loaded to fit its new rows to text")
    more = "as many rows, new ones among them" if config.prune else "more rows"
    return [*lines, f"a model with {more} ({config.resolved_init}) in {names} is written to {config.out}"]


def _most(config: ExtendConfig) -> str:
    from tokenizer.advice import MAX_ADVISED

    if config.num_new_tokens == "auto":
        return f"as many as the advisor recommends, at most {MAX_ADVISED:,},"
    if config.num_new_tokens is None and config.prune:
        return "none"
    return f"up to {config.num_new_tokens:,}" if config.num_new_tokens else "all that fit"


def extend(config: ExtendConfig) -> Path:
    """Learn, verify and write the extended tokenizer, initialise the new rows, report; returns the artifact.

    Raises:
        InputError: If the base or the corpus cannot be used.
        VerificationError: If the new tokenizer breaks a promise; nothing is published then.
    """
    from tokenizer.build import build
    from tokenizer.compare import read_compared
    from tokenizer.families import read_base

    if config.workers:
        # Read by tokenizers when it first encodes in this process.
        os.environ["RAYON_NUM_THREADS"] = str(config.workers)
    refuse_existing(config.out, config.overwrite)
    list_files(config.corpus)
    base = read_base(config.base, trust_remote_code=config.trust_remote_code)
    _check_init(config, base.config is not None)
    named = {"spm": config.spm, "advise_for": config.advise_for}
    others = {name: path for name, path in named.items() if path is not None}
    inputs = {"base": config.base, **others, **{f"corpus{i}": path for i, path in enumerate(config.corpus)}}
    compared = read_compared(config.compare, config.num_workers)
    inputs |= {f"compare{i}": tokenizer.path for i, tokenizer in enumerate(compared)}
    with publish(
        config.out,
        kind="tokenizer" if base.config is None else "model",
        config=config,
        inputs=inputs,
        seed=config.seed,
        overwrite=config.overwrite,
    ) as draft:
        build(config, base, compared, draft)
    return config.out
