"""A sentence as a tokenizer cuts it, for people to look at."""

from pathlib import Path


def segment(tokenizer_folder: Path, sentence: str) -> list[str] | None:
    """Return the pieces of a sentence, bytes as ``<0xE4>``; None where the folder has no ``tokenizer.json``."""
    from tokenizers import Tokenizer

    file = tokenizer_folder / "tokenizer.json"
    if not file.is_file():
        return None
    encoding = Tokenizer.from_file(str(file)).encode(sentence, add_special_tokens=False)
    # Byte-level vocabularies spell their tokens in letters of their own, so the text is shown, not the token.
    pieces = [
        token if token.startswith("<0x") else sentence[begin:end]
        for token, (begin, end) in zip(encoding.tokens, encoding.offsets, strict=True)
    ]
    return [piece for piece in pieces if piece]
