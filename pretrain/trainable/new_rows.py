"""New rows of the vocabulary as weights of their own, so that old rows have no gradient and no optimizer state.

The tables stay frozen parameters of the model; what trains is a parameter that shares the memory of a table's new rows.
The forward pass is that of the whole table, and only the gradient goes another way.
"""

from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from hanlm.megatron import megatron_import
from pretrain.megatron.loss import RowSpan
from pretrain.parallel import Place

EMBEDDING, OUTPUT = "embedding.word_embeddings.weight", "output_layer.weight"
_MARKS = ("tensor_model_parallel", "partition_dim", "partition_stride", "shared", "shared_embedding")


class NewRows(nn.Module):
    """This rank's new rows of the embedding and of the output layer; a rank that holds none has no parameter.

    Args:
        model: Megatron's ``GPTModel`` with one of the tables, or with both, loaded.
        place: This process.
        num_base_tokens: Old tokens: the first rows.
        num_tokens: All tokens; rows after them are padding.
    """

    def __init__(self, model: Any, place: Place, *, num_base_tokens: int, num_tokens: int) -> None:
        super().__init__()
        self._place, self._num_new = place, num_tokens - num_base_tokens
        self._base = num_base_tokens
        self._spans: dict[str, RowSpan] = {}
        self._hook: Any = None
        tables = dict(model.named_parameters())
        for name, table in tables.items():
            if name in (EMBEDDING, OUTPUT):
                first = place.tensor_rank * table.shape[0]
                begin, end = (min(max(n - first, 0), table.shape[0]) for n in (num_base_tokens, num_tokens))
                if begin < end:
                    self._spans[name] = RowSpan(begin, end, first)
                    self.register_parameter(self._own_name(name), _view(table, begin, end))
        if EMBEDDING in tables:
            self._hook = model.embedding.word_embeddings.register_forward_hook(self._route)

    def of_table(self, name: str) -> tuple[nn.Parameter, RowSpan] | None:
        """Return the rows of a table that train, and where in it they lie."""
        span = self._spans.get(name)
        return None if span is None else (getattr(self, self._own_name(name)), span)

    def of_output(self) -> tuple[nn.Parameter, RowSpan] | None:
        """Return the rows of what the output layer multiplies by: a table of its own, or the embedding beside it."""
        return self.of_table(OUTPUT) or self.of_table(EMBEDDING)

    def tables(self) -> dict[str, tuple[str, RowSpan]]:
        """Return for each parameter of this module, named as in the model, its table and its place in it."""
        return {f"new_rows.{self._own_name(name)}": (name, span) for name, span in self._spans.items()}

    def sum_over_stages(self) -> None:
        """Sum the gradients of a tied table's two copies, which lie on the first and on the last stage."""
        from megatron.core import parallel_state

        parameters: list[Any] = list(self.parameters())
        for rows in parameters:
            if self._place.layout.pipeline > 1 and getattr(rows, "shared_embedding", False):
                group: Any = parallel_state.get_embedding_group()
                dist.all_reduce(rows.main_grad, group=group)

    @torch.no_grad()
    def write_back(self, model: Any) -> None:
        """Copy the rows into their tables, where an optimizer has given them memory of their own."""
        tables = dict(model.named_parameters())
        for name, span in self._spans.items():
            tables[name].data[span.begin : span.end] = getattr(self, self._own_name(name)).data

    def detach_from(self, model: Any) -> None:
        """Take the rows out of the model; what they learned stays in its tables."""
        if self._hook is not None:
            self._hook.remove()
        del model.new_rows

    def sharded_state_dict(self, prefix: str = "", sharded_offsets: Any = (), metadata: Any = None) -> dict[str, Any]:
        """Describe the rows to a checkpoint: ranks may hold different numbers of them, or none."""
        with megatron_import():
            from megatron.core.dist_checkpointing import ShardedTensor
        del sharded_offsets, metadata
        found: dict[str, Any] = {}
        for name, span in self._spans.items():
            rows = getattr(self, self._own_name(name))
            is_copy = name == OUTPUT and getattr(rows, "shared_embedding", False) and not self._place.is_first_stage
            key = self._own_name(EMBEDDING if is_copy else name)
            found[prefix + self._own_name(name)] = ShardedTensor(
                key=prefix + key,
                data=rows,
                dtype=rows.dtype,
                local_shape=tuple(rows.shape),
                global_shape=(self._num_new, rows.shape[1]),
                global_offset=(span.first + span.begin - self._base, 0),
                axis_fragmentations=None,  # not a regular grid
                replica_id=(int(is_copy), 0, self._place.data_rank),
            )
        return found

    def _route(self, module: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        # A rank without new rows goes backward too: the others wait for it in every layer.
        none = torch.empty((0, output.shape[-1]), device=output.device, requires_grad=True), RowSpan(0, 0)
        rows, span = self.of_table(EMBEDDING) or none
        group = module.tp_group if module.reduce_scatter_embeddings else None
        return _Route.apply(output, rows, inputs[0], span, group)  # pyright: ignore[reportReturnType]

    @staticmethod
    def _own_name(table: str) -> str:
        return table.split(".", 1)[0]


class _Route(torch.autograd.Function):
    """The identity, which gives the gradient of embedded tokens to the rows of those that are new."""

    @staticmethod
    def forward(
        ctx: Any, output: torch.Tensor, rows_ND: torch.Tensor, ids_BT: torch.Tensor, span: RowSpan, group: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(rows_ND, ids_BT)
        ctx.span, ctx.group = span, group
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from megatron.core.tensor_parallel import gather_from_sequence_parallel_region

        rows_ND, ids_BT = ctx.saved_tensors
        grad, ids = grads[0], ids_BT
        if ctx.group is not None:  # sequence parallel: [T / ranks, B, D], a stretch of the sequence on each rank
            grad, ids = gather_from_sequence_parallel_region(grad, group=ctx.group), ids_BT.T
        local_N = ids.reshape(-1) - (ctx.span.first + ctx.span.begin)
        is_mine_N = (local_N >= 0) & (local_N < len(rows_ND))
        sums_ND = torch.zeros(rows_ND.shape, dtype=torch.float32, device=rows_ND.device)
        sums_ND.index_add_(0, local_N[is_mine_N], grad.reshape(-1, grad.shape[-1])[is_mine_N].float())
        return None, sums_ND.to(rows_ND.dtype), None, None, None


def _view(table: nn.Parameter, begin: int, end: int) -> nn.Parameter:
    """Return rows of a table as a parameter on the same memory, with the marks that megatron-core counts norms by."""
    rows = nn.Parameter(table.data[begin:end])
    for mark in _MARKS:
        if hasattr(table, mark):
            setattr(rows, mark, getattr(table, mark))
    return rows
