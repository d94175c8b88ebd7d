"""English prose from the docstrings of installed Python packages: real text that anyone can gather again."""

import ast
import hashlib
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from inspect import cleandoc
from pathlib import Path

from hanlm.errors import InputError
from hanlm.text import content_digest, normalise

MIN_CHARS = 80
"""Shorter docstrings ("Return the name.") say little and repeat each other."""
MIN_PROSE_SHARE = 0.85
"""Letters and spaces among a text's characters; below lie tables, signatures and formulas."""
MAX_DOCTEST_SHARE = 0.2
"""Lines that are an interpreter session."""

_MAX_FILE_BYTES = 2_000_000
_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)
_RESTRICTED = re.compile(r"proprietary|non-?commercial|\bnc\b", re.IGNORECASE)
_DOCTEST_LINE = re.compile(r"^\s*(>>>|\.\.\. |In \[\d+\]:)", re.MULTILINE)


def iter_docstrings(
    packages_root: Path | None = None,
    *,
    min_chars: int = MIN_CHARS,
    max_bytes: int | None = None,
    counts: Counter[str] | None = None,
) -> Iterator[dict[str, str]]:
    """Yield the docstrings that are prose, each text once.

    Files come in the order of the hash of their relative path, so ``max_bytes`` takes a prefix of the full sequence:
    a sample spread over all packages.

    Args:
        packages_root: Folder of packages; by default the running interpreter's site-packages.
        min_chars: Shorter docstrings are left out.
        max_bytes: Stop once this many UTF-8 bytes of text were yielded; None takes everything.
        counts: Filled with the documents ``kept`` and, by reason, the files and documents left out.

    Yields:
        Records with ``id, text, domain, lang, source, license``; the text is normalised, ``source`` is the file's path
        below ``packages_root``.

    Raises:
        InputError: ``packages_root`` is no folder or holds no Python file.
    """
    root = packages_root or Path(sysconfig.get_path("purelib"))
    paths = _files_by_hash(root)
    counts = Counter() if counts is None else counts
    licenses = _licenses(root)
    seen: set[bytes] = set()
    num_bytes = 0
    for source in paths:
        texts = _parse_file(root / source, min_chars, counts)
        license_name = licenses.get(source.split("/")[0], "")
        if _RESTRICTED.search(license_name):
            counts["restricted_license"] += len(texts)
            continue
        for text in texts:
            digest = content_digest(text)
            if digest in seen:
                counts["duplicate"] += 1
                continue
            seen.add(digest)
            counts["kept"] += 1
            yield _record(text, digest, source, license_name)
            num_bytes += len(text.encode())
            if max_bytes is not None and num_bytes >= max_bytes:
                return


def docstrings_of(source: str) -> list[str]:
    """Return the docstrings of a module, its classes and its functions, dedented, in the order of the file.

    Raises:
        SyntaxError, ValueError: If this interpreter cannot parse ``source``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old package's invalid escape is no news for our user
        tree = ast.parse(source)
    found: list[str] = []
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                found.append(cleandoc(text))
        # Definitions hang on statements alone; expressions are most of a tree and are not walked.
        for branch in ("finalbody", "orelse", "body"):
            pending.extend(reversed(getattr(node, branch, [])))
    return found


def has_cjk(text: str) -> bool:
    """Say whether a text has any Chinese, Japanese or Korean character or full-width sign."""
    return _CJK.search(text) is not None


def reason_to_drop(text: str, min_chars: int = MIN_CHARS) -> str | None:
    """Return why a normalised docstring is no English prose, or None where it is."""
    if len(text) < min_chars:
        return "too_short"
    if has_cjk(text):
        return "cjk"
    if len(_DOCTEST_LINE.findall(text)) > MAX_DOCTEST_SHARE * (text.count("\n") + 1):
        return "mostly_code"
    flat = " ".join(text.split())
    if sum(char.isalpha() or char == " " for char in flat) < MIN_PROSE_SHARE * len(flat):
        return "mostly_symbols"
    return None


def _record(text: str, digest: bytes, source: str, license_name: str) -> dict[str, str]:
    return {
        "id": digest.hex()[:16],
        "text": text,
        "domain": "python_docs",
        "lang": "en",
        "source": source,
        "license": license_name,
    }


def _files_by_hash(root: Path) -> list[str]:
    if not root.is_dir():
        raise InputError(f"expected a folder of Python packages, got {root}: pass one, such as a site-packages folder.")
    paths = [path.relative_to(root).as_posix() for path in root.rglob("*.py")]
    if not paths:
        raise InputError(f"{root} holds no .py file: pass a folder of Python packages.")
    return sorted(paths, key=lambda path: hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest())


def _parse_file(path: Path, min_chars: int, counts: Counter[str]) -> list[str]:
    """Return a file's prose; count, by reason, what is left out."""
    try:
        raw = path.read_bytes()
        if len(raw) > _MAX_FILE_BYTES:  # generated tables; the parser would take seconds over one
            counts["file_too_large"] += 1
            return []
        source = raw.decode("utf-8")
        found = docstrings_of(source) if '"""' in source or "'''" in source else []
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError, MemoryError):
        counts["file_unparsable"] += 1
        return []
    reasons = [(text, reason_to_drop(text, min_chars)) for text in map(normalise, found)]
    counts.update(reason for _, reason in reasons if reason is not None)
    return [text for text, reason in reasons if reason is None]


def _licenses(root: Path) -> dict[str, str]:
    """Return the licence by the first part of an installed file's path, from the packages' own metadata."""
    licenses: dict[str, str] = {}
    for distribution in distributions(path=[str(root)]):
        name = _license_of(distribution)
        # Not `distribution.files`: it builds an object for each of a hundred thousand files, for seconds.
        for line in (distribution.read_text("RECORD") or "").splitlines():
            licenses.setdefault(line.split(",", 1)[0].split("/", 1)[0], name)
    return licenses


def _license_of(distribution: Distribution) -> str:
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    value = (metadata.get("License") or "").strip()
    if value and len(value) <= 60 and "\n" not in value:  # some packages put the whole text there
        return value
    classifiers = metadata.get_all("Classifier") or []
    return next((line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")), "")
