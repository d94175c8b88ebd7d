"""Exact deduplication."""

# Half of a SHA-256 tells 2**64 documents apart and keeps the index at about 100 bytes a document.
_KEY_BYTES = 16


class ExactIndex:
    """The contents seen so far."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()

    def is_repeat(self, digest: bytes) -> bool:
        """Remember a ``content_digest``; say whether it was known already."""
        key = digest[:_KEY_BYTES]
        if key in self._keys:
            return True
        self._keys.add(key)
        return False
