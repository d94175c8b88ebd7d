"""``hanlm corpus tokenize``: corpora in, Megatron token files out."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from corpora.tokens.mix_shares import resolve, sentences
from corpora.tokens.mixes import Mix
from hanlm.artifact import open_artifact
from hanlm.errors import ConfigError
from hanlm.log import say
from hanlm.publish import publish, refuse_existing

type EngineName = Literal["auto", "sentencepiece", "fast"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizeConfig:
    """Turn corpora into token files for one tokenizer."""

    corpus: tuple[Path, ...]
    """Corpora that `hanlm corpus build` wrote."""
    tokenizer: Path
    """Folder with the tokenizer: that of the model which is to be trained."""
    out: Path
    """Folder of the tokens."""
    engine: EngineName = "auto"
    """Library that encodes: `auto` takes sentencepiece, twice as fast, where it agrees with `fast`
    (tokenizers)."""
    workers: int | None = None
    """Processes that encode; as many as processors by default. The result does not depend on it."""
    mix: Annotated[Mix | None, Parameter(show=False)] = None
    """How often training is to see what, in a configuration file: `weights`, `temperature`, `max_epochs`, `replay`,
    `curriculum`, `total_tokens`. Written into the manifest; `hanlm pretrain` follows it."""
    overwrite: bool = False
    """Replace finished tokens."""

    def __post_init__(self) -> None:
        if not self.corpus:
            raise ConfigError("expected at least one corpus to tokenize, got none; pass --corpus DIR….")
        if twice := [str(path) for path, count in Counter(map(Path.resolve, self.corpus)).items() if count > 1]:
            raise ConfigError(
                f"expected each corpus once, got {', '.join(twice)} again; to train on it more often give it weight in "
                "`mix`."
            )
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"expected at least 1 worker, got {self.workers}.")


def plan(config: TokenizeConfig) -> list[str]:
    """Say what would be read and written."""
    from hanlm.tokenizing import tokenizer_hash

    refuse_existing(config.out, config.overwrite)
    lines: list[str] = []
    for path in config.corpus:
        counts = open_artifact(path, "corpus", verify=False).manifest["counts"]
        size = f"{counts['documents_kept']} documents, {counts['bytes_kept'] / 1e6:.1f} MB"
        lines.append(f"would tokenize {size} of {path}")
    lines.append(f"with the tokenizer {tokenizer_hash(config.tokenizer)[:12]} of {config.tokenizer}")
    return [*lines, f"would write the tokens {config.out}"]


def tokenize(config: TokenizeConfig) -> Path:
    """Write the tokens and return their folder.

    Raises:
        InputError: If there is no tokenizer, it has no eos, or the corpora hold no document.
        ArtifactError: If a corpus is damaged, or ``out`` must not be replaced.
        HanLMError: If a process that encodes died.
        Interrupted: On SIGINT or SIGTERM; nothing is published, finished parts are kept.
    """
    plan(config)
    from corpora.tokens.encoding import Encoder
    from corpora.tokens.pool import start_server, worthwhile_workers
    from corpora.tokens.write import write_tokens
    from hanlm.tokenizing import tokenizer_hash

    corpora = [open_artifact(path, "corpus") for path in config.corpus]
    if worthwhile_workers(sum(c.manifest["counts"]["bytes_kept"] for c in corpora), config.workers) > 1:
        start_server()
    licenses: Counter[str] = Counter()
    for corpus in corpora:
        licenses.update(corpus.manifest["licenses"])
    inputs = {f"corpus-{number}": path for number, path in enumerate(config.corpus)}
    with publish(
        config.out,
        kind="tokens",
        config=config,
        inputs={**inputs, "tokenizer": config.tokenizer},
        tokenizer_hash=tokenizer_hash(config.tokenizer),
        overwrite=config.overwrite,
    ) as draft:
        encoder = Encoder(config.tokenizer, engine=config.engine)
        keys = write_tokens(corpora, encoder, config.tokenizer, draft, workers=config.workers)
        if config.mix is not None:
            draft.record(mix=resolve(config.mix, keys["datasets"]))
        draft.record(**keys, engine=encoder.engine, licenses=dict(sorted(licenses.items())))
    for each in keys["datasets"]:
        say(
            f"{each['prefix']}: {each['num_documents']} documents of {each['num_bytes']} bytes, "
            f"{each['num_tokens']} tokens"
        )
    for line in sentences(draft.extra["mix"]) if config.mix is not None else []:
        say(line)
    return config.out
