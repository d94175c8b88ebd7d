"""What only the accelerate backend can do: declared once, for flags (``--accelerate.NAME``), YAML and the manifest."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class AccelerateOptions:
    """Options of `--backend accelerate`."""

    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
