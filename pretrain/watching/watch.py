"""What the loop tells of a run and asks about it: one object for metrics, faults and forgetting."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hanlm.devices import resolve_dtype
from hanlm.errors import InputError
from hanlm.log import Metrics, say
from pretrain.backend import TrainingEngine
from pretrain.config import PretrainConfig
from pretrain.data.batches import TrainingData
from pretrain.evaluate import Validation
from pretrain.flops import TokenFlops
from pretrain.watching.batch import BatchLosses, BatchWatch, Tally
from pretrain.watching.documents import Documents
from pretrain.watching.faults import Fault, Faults
from pretrain.watching.forgetting import Decision, Forgetting, not_held
from pretrain.watching.throughput import learning_rates, peak_memory_bytes, peak_tflops

_NAMED_DOCUMENTS = 3


class Watch:
    """Watches one run; every process has one, and all come to the same decisions.

    Args:
        config: The run's configuration.
        engine: What trains.
        data: What is trained on.
        documents: The names and sizes of its documents.
        validation: What forgetting is measured on.
    """

    def __init__(
        self,
        config: PretrainConfig,
        engine: TrainingEngine,
        data: TrainingData,
        documents: Documents,
        validation: Validation,
    ) -> None:
        self._config, self._engine, self._data, self._documents = config, engine, data, documents
        self._batches = BatchWatch(data, documents, engine.place, global_batch_size=config.global_batch_size)
        self._faults = Faults(config.faults)
        self._forgetting = Forgetting(config.forgetting, validation)
        self._tally = Tally()
        self._cost: TokenFlops | None = None
        self._window = [0, 0.0]
        self._batch: BatchLosses | None = None
        name = torch.cuda.get_device_name(engine.place.device) if engine.place.device.type == "cuda" else ""
        self._peak_tflops = peak_tflops(name, resolve_dtype(config.precision))
        self.metrics: Metrics | None = None
        """On the main process."""

    def start_phase(self) -> None:
        """Reckon what a token of the phase that has begun costs."""
        self._cost = self._engine.cost()

    def approve(self, step: int, microbatches: Sequence[torch.Tensor]) -> bool:
        """Gather the losses of the step after ``step`` and say whether it may change the weights."""
        self._batch = self._batches.gather(step, microbatches)
        return self._faults.approve(self._batch.loss)

    def settle(self, step: int, norm: float, seconds: float) -> float:
        """Count the step that made ``step`` of them; return its loss in nats a token.

        Raises:
            InputError: If too many steps in a row were left out.
        """
        assert self._batch is not None
        batch, limit = self._batch, self._faults.limit
        self._window[0] += 1
        self._window[1] += seconds
        self._tally.add(batch)
        fault, skipped = self._faults.settle(batch.loss, norm)
        if fault is not None and self.metrics is not None:
            self._tell(step, fault, skipped, norm, limit)
        if skipped:
            self._faults.stop_if_hopeless(step, norm, "documents of " + ", ".join(self._names(batch)))
        return batch.loss

    def _names(self, batch: BatchLosses) -> list[str]:
        return sorted({f"{each.lang}/{each.domain}" for each in batch.sets})

    def _tell(self, step: int, fault: Fault, skipped: bool, norm: float, limit: float | None) -> None:
        assert self._batch is not None
        assert self.metrics is not None
        samples = self._samples(step - 1, self._batch)
        values = {"batch_loss": self._batch.loss, "grad_norm": norm, "limit": limit, "skipped": skipped}
        self.metrics.write(step, {"event": fault, **values, "samples": samples})
        first = [name for sample in samples for name in sample["documents"]][:_NAMED_DOCUMENTS]
        what = f"the gradient is not finite ({norm})"
        if fault == "spike":
            what = f"the loss jumped to {self._batch.loss:.3f} (limit {limit:.3f})"
        done = "left out" if skipped else "told only"
        say(f"step {step}: {what}, {done}; documents {', '.join(first)} and others, all in metrics.jsonl")

    def _samples(self, step: int, batch: BatchLosses) -> list[dict[str, Any]]:
        """Return the samples of a step with the ids of their documents, the worst first."""
        parts = self._batches.parts(step)
        wanted: dict[Any, list[int]] = {}
        for token_set, sample in zip(batch.sets, parts, strict=True):
            wanted.setdefault(token_set, []).extend(sample.document_P.tolist())
        ids = self._documents.ids(wanted)
        losses = [n / t if t else 0.0 for n, t in zip(batch.nats_B.tolist(), batch.tokens_B.tolist(), strict=True)]
        order = sorted(range(len(parts)), key=lambda i: -losses[i] if math.isfinite(losses[i]) else -math.inf)
        return [
            {
                "loss": losses[i] if math.isfinite(losses[i]) else None,
                "set": batch.sets[i].path.name,
                "documents": [ids[batch.sets[i]][n] for n in parts[i].document_P.tolist()],
            }
            for i in order
        ]

    def line(self, *, num_left: int | None, share: float, elapsed_seconds: float) -> dict[str, Any]:
        """Return what a line of metrics says since the last one; call it on every process.

        Args:
            num_left: Steps that are left, where that is known.
            share: Share of the run that is done.
            elapsed_seconds: Seconds of training so far.
        """
        place = self._engine.place
        (steps, seconds), self._window = self._window, [0, 0.0]
        [memory] = place.agree(float(peak_memory_bytes(place.device)))
        speed = steps * self._config.global_batch_size * self._config.seq_length / seconds
        left = num_left * seconds / steps if num_left is not None else elapsed_seconds * (1 - share) / max(share, 1e-9)
        values: dict[str, Any] = dict(learning_rates(self._engine.optimizer.param_groups))
        values |= {"tokens_per_second": speed, "peak_memory_bytes": int(memory), "eta_seconds": round(left, 1)}
        return values | self._efficiency(speed) | self._tally.take()

    def _efficiency(self, tokens_per_second: float) -> dict[str, float]:
        if self._cost is None:
            return {}
        tflops = self._cost.training * tokens_per_second / self._engine.place.world_size / 1e12
        return {"tflops": tflops} | ({"mfu": tflops / self._peak_tflops} if self._peak_tflops else {})

    def note(self, tokens_per_second: float) -> str:
        """Return what the progress bar says of the speed."""
        mfu = self._efficiency(tokens_per_second).get("mfu")
        return f"{tokens_per_second:,.0f} tokens/s" + (f", {mfu:.0%} MFU" if mfu is not None else "")

    def validated(self, step: int, validation: Mapping[str, float]) -> InputError | None:
        """Judge a validation; return the error that ends the run where the forgetting budget cannot be held."""
        decision = self._forgetting.judge(step, validation, self._data.shares(step))
        if decision is None:
            return None
        if decision.verdict == "raised":
            self._data.raise_shares(self._forgetting.raises)
        if self.metrics is not None:
            self._tell_decision(decision)
        return not_held(decision) if decision.verdict == "not held" else None

    def _tell_decision(self, decision: Decision) -> None:
        assert self.metrics is not None
        names = ("verdict", "lang", "bits_per_byte", "before_training", "increase", "max_increase")
        values = {name: getattr(decision, name) for name in (*names, "share_before", "share", "num_raises")}
        self.metrics.write(decision.step, {"event": "forgetting", **values})
        say(f"step {decision.step}: {decision.sentence}")

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep."""
        return {
            "faults": self._faults.state(),
            "forgetting": self._forgetting.state(),
            "tally": self._tally.sums,
        }

    def restore(self, state: Mapping[str, Any], step: int, last_validation: Mapping[str, float]) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: If the run ended because forgetting could not be held, and by these options still cannot be.
        """
        self._faults.restore(state["faults"])
        self._forgetting.restore(state["forgetting"])
        self._tally = Tally(state["tally"])
        self._data.raise_shares(self._forgetting.raises)
        if self._forgetting.is_over and (error := self.validated(step, last_validation)) is not None:
            raise error
