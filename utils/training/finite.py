"""The search for NaN and infinite values in gradients and in the state that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm


def gradient_norm(gradients: Iterable[Tensor | None]) -> Tensor:
    """Return the L2 norm of all gradients together, a scalar on their device.

    One fused reduction; the host does not wait for it. The norm of finite gradients may exceed the range of
    their type, so a norm that is not finite is a reason to look at them (:func:`all_finite`).
    """
    return get_total_norm([gradient for gradient in gradients if gradient is not None])


def all_finite(tensors: Iterable[Tensor | None]) -> bool:
    """Return whether no tensor holds a NaN or an infinite value."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors if tensor is not None)


def first_bad(state: Mapping[str, Any], ignored: frozenset[str] = frozenset()) -> str | None:
    """Return the name of the first value of a training state that no run can continue from.

    Weights, buffers and averaged weights must be finite. The optimizer's state must not be NaN; a second
    moment may be infinite, which makes a step of 0.

    Args:
        state: as :meth:`base.base_trainer.BaseTrainer.state_dict` returns it.
        ignored: names of buffers that are not finite by design (:func:`unbounded_buffers`).

    Returns:
        A name such as ``model.conv.weight``; ``None`` if all is well.
    """
    weights = [
        (f"{part}.{name}", tensor)
        for part in ("model", "ema")
        for name, tensor in (state.get(part) or {}).items()
        if isinstance(tensor, Tensor) and name not in ignored
    ]
    moments = list(_tensors("optimizer", state.get("optimizer", {})))
    if not bool(_norm(weights).isfinite()):
        for name, tensor in weights:
            if not all_finite([tensor]):
                return name
    if bool(_norm(moments).isfinite()):
        return None
    return next((name for name, tensor in moments if bool(tensor.isnan().any())), None)


def unbounded_buffers(model: nn.Module) -> frozenset[str]:
    """Return the names of the buffers that are not finite in an untrained model: constants such as masks."""
    return frozenset(name for name, buffer in model.named_buffers() if not all_finite([buffer]))


def _norm(named: Sequence[tuple[str, Tensor]]) -> Tensor:
    # several times as fast as isfinite() on a CPU
    tensors = [t.detach() for _, t in named if (t.is_floating_point() or t.is_complex()) and t.numel()]
    return get_total_norm(tensors) if tensors else torch.tensor(0.0)


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(f"{name}.{key}", item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _tensors(f"{name}.{index}", item)
