"""Which HanLM made a result: the version of an installed wheel, the hash of the sources in a checkout."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from hanlm import __version__

_SOURCES = (".py", ".css", ".js")
_PACKAGES = ("hanlm", "tokenizer", "corpora", "pretrain", "sft", "eval")


@cache
def source_hash() -> str:
    """Return ``VERSION+HASH`` in a checkout and ``VERSION`` in an installed wheel."""
    root = Path(__file__).parent.parent
    if not (root / "pyproject.toml").is_file():
        return __version__
    total = sha256()
    for package in _PACKAGES:
        for path in sorted(p for p in (root / package).rglob("*") if p.suffix in _SOURCES):
            total.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return f"{__version__}+{total.hexdigest()[:16]}"
