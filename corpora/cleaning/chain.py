"""Several cleaners, one after the other, and which of them changed a text."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from corpora.cleaning.registry import CLEANERS, Cleaner, make, ordered


@dataclass(frozen=True)
class Chain:
    """The named cleaners in the order of the registry, then ``normalise`` again where any of them changed the text.

    Without the last step the text could end in blanks that a removed tag left, and its hash, which decides on
    duplicates and on the split, would be of another form than everywhere else.

    Raises:
        ConfigError: If a name is unknown, or two of them undo each other.
    """

    names: Collection[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", ordered(self.names))

    def __call__(self, text: str, *, chinese: bool = True) -> str:
        """Return the text cleaned; without ``chinese``, the cleaners that are for Chinese alone are left out."""
        return self.explain(text, chinese=chinese)[0]

    def explain(self, text: str, *, chinese: bool = True) -> tuple[str, tuple[str, ...]]:
        """Return the cleaned text and the names of the cleaners that changed it."""
        changed: list[str] = []
        for name, clean in self._cleaners:
            if (chinese or not CLEANERS[name].chinese_only) and (cleaned := clean(text)) != text:
                text = cleaned
                changed.append(name)
        if "normalise" in self.names and changed and changed != ["normalise"]:
            text = make("normalise")(text)
        return text, tuple(changed)

    @cached_property
    def _cleaners(self) -> list[tuple[str, Cleaner]]:
        return [(name, make(name)) for name in self.names]

    def __getstate__(self) -> dict[str, Collection[str]]:
        return {"names": self.names}
