"""Means of named losses over an epoch, kept on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class LossMeter:
    """Weighted means of named losses, kept on the device so that no step waits for it.

    Args:
        device: device of the losses.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self._weight = torch.zeros((), dtype=torch.float64, device=device)

    def update(self, losses: Mapping[str, Tensor], scale: Tensor, weight: Tensor) -> None:
        """Add one batch.

        Args:
            losses: name -> scalar, a sum over the batch divided by ``scale``.
            scale: divisor of the losses, such as the number of valid pixels of the step.
            weight: this batch's part of it.
        """
        for name, value in losses.items():
            added = value.detach().double() * scale
            self._sums[name] = self._sums[name] + added if name in self._sums else added
        self._weight = self._weight + weight

    def reset(self) -> None:
        """Forget every batch."""
        self._sums.clear()
        self._weight = torch.zeros_like(self._weight)

    def compute(self) -> dict[str, float]:
        """Return the means; NaN where the weights add up to 0."""
        weight = float(self._weight)
        return {k: float(total) / weight if weight else float("nan") for k, total in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"sums": {k: v.cpu() for k, v in self._sums.items()}, "weight": self._weight.cpu()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums = {name: value.to(self._device) for name, value in state["sums"].items()}
        self._weight = state["weight"].to(self._device)
