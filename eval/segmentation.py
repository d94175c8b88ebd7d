"""A sentence as a tokenizer cuts it, for people to look at."""

from pathlib import Path

_SPACE = "▁"  # how SentencePiece writes a space, also the one it puts before every text


def segment(tokenizer_folder: Path, sentence: str) -> list[str] | None:
    """Return the pieces of a sentence, bytes as ``<0xE4>``; None where the folder has no ``tokenizer.json``."""
    from tokenizers import Tokenizer

    file = tokenizer_folder / "tokenizer.json"
    if not file.is_file():
        return None
    encoding = Tokenizer.from_file(str(file)).encode(sentence, add_special_tokens=False)
    return [
        _shown(token, sentence[begin:end])
        for token, (begin, end) in zip(encoding.tokens, encoding.offsets, strict=True)
    ]


def _shown(token: str, covered: str) -> str:
    if token.startswith("<0x") or token == _SPACE:
        return token
    plain = token.replace(_SPACE, " ")
    # Byte-level vocabularies spell their tokens in letters of their own: there the text covered is shown instead.
    return plain if plain.strip() == covered.strip() else covered
