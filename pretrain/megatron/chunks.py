"""This process's part of a model: one ``GPTModel``, or with virtual stages several, as one set of parameters."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hanlm.errors import ConfigError


def prefixes(num_chunks: int) -> tuple[str, ...]:
    """Return what comes before the names of each chunk's parameters: nothing where there is one chunk only."""
    return ("",) if num_chunks == 1 else tuple(f"chunk{i}." for i in range(num_chunks))


class Chunks:
    """The models of this process in the order in which data flow through them, with names that are unique in it.

    Each is numbered from layer 0, whatever its place in the whole model; checkpoints know them by their place.

    Raises:
        ConfigError: If several chunks would send to each other by batched operations. megatron-core then mixes up
            what belongs to which chunk, without an error: the demo base's first loss was 3.79 instead of 3.00 (gloo).
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self.models = tuple(models)
        self.prefixes = prefixes(len(models))
        if len(models) > 1 and self.config.batch_p2p_comm:
            raise ConfigError(
                "--virtual-pipeline expects stages that send one tensor at a time, got batch_p2p_comm=True, with which "
                "megatron-core trains on wrong values; set overlap_p2p_comm=True, batch_p2p_comm=False."
            )

    @property
    def config(self) -> Any:
        """Megatron's configuration, which all of them share."""
        return self.models[0].config

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield each chunk with what comes before its parameters' names."""
        return zip(self.prefixes, self.models, strict=True)

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        """Yield all parameters by the names that are unique in this process."""
        for prefix, model in self.items():
            for name, parameter in model.named_parameters():
                yield prefix + name, parameter

    def parameters(self) -> Iterator[Any]:
        """Yield all parameters."""
        return (parameter for _, parameter in self.named_parameters())

    def sharded_state_dict(self) -> Mapping[str, Any]:
        """Describe all parameters to a checkpoint by their names here; their keys there are the whole model's."""
        described = ((prefix, model.sharded_state_dict()) for prefix, model in self.items())
        return {prefix + name: tensor for prefix, tensors in described for name, tensor in tensors.items()}

    def train(self, mode: bool = True) -> None:
        """Set all of them to training, or to scoring."""
        for model in self.models:
            model.train(mode)
