"""Weighted sums of losses."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from utils.config.annotations import NonNegativeFloat
from utils.config.factory import build
from utils.dataset_info import IGNORE_INDEX
from utils.errors import ConfigError
from utils.losses.base import BaseLoss, PixelLoss
from utils.losses.region import DiceLoss, overlap

_TINY = 1.2e-38


class CE_DiceLoss(PixelLoss):
    """Cross-entropy plus Dice, both from one softmax.

    The parts of a step add up exactly for cross-entropy; Dice parts are averaged by their weight in it.

    Args:
        smooth: as in :class:`DiceLoss`.
        dice_weight: factor of Dice; cross-entropy has 1.
        classes: as in :class:`DiceLoss`.
        per_image: as in :class:`DiceLoss`.
        weight: one weight per class, for both terms.
        ignore_index: void.
    """

    def __init__(
        self,
        smooth: NonNegativeFloat = 1.0,
        dice_weight: NonNegativeFloat = 1.0,
        classes: Literal["present", "all"] = "present",
        per_image: bool = False,
        weight: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(weight, ignore_index)
        self.dice = DiceLoss(smooth, classes, per_image, weight=weight, ignore_index=ignore_index)
        self.dice_weight = dice_weight

    def _total(self, logits: Tensor, target: Tensor) -> Tensor:
        counts, entropy = overlap(logits, target, self.ignore_index)
        if self.weight is not None:
            labels = target.masked_fill(~self._valid(target), 0).flatten(1)
            entropy = entropy * self.weight.to(entropy.dtype)[labels]
        dice = self.dice.from_overlap(counts)
        return entropy.sum() + self.dice_weight * dice * self.normalizer(target)


class Sum(BaseLoss):
    """A weighted sum: ``{"type": "Sum", "args": {"terms": [{"type": ..., "args": {...}, "weight": 0.5}, ...]}}``.

    The parts of a step are averaged by the normalizer of the first term, so put a loss over pixels first.

    Args:
        terms: losses by name, with their arguments and a factor (default 1).
        weight: class weights for every term that takes them.
        num_classes: passed to every term that takes it.
        ignore_index: void.

    Raises:
        ConfigError: an unknown loss or argument.
    """

    def __init__(
        self,
        terms: list[dict[str, Any]],
        weight: Sequence[float] | None = None,
        num_classes: int | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(ignore_index)
        if not terms:
            raise ValueError("terms: at least one is needed")
        context = {"weight": weight, "num_classes": num_classes, "ignore_index": ignore_index}
        context = {key: value for key, value in context.items() if value is not None}
        parts = [_term(term, f"loss.args.terms[{i}]", context) for i, term in enumerate(terms)]
        self.terms = nn.ModuleList(part for part, _ in parts)
        self.factors = [factor for _, factor in parts]

    def normalizer(self, target: Tensor) -> Tensor:
        return self._first.normalizer(target)

    @property
    def _first(self) -> BaseLoss:
        first = self.terms[0]
        assert isinstance(first, BaseLoss)
        return first

    def _share(self, logits: Tensor, target: Tensor, normalizer: Tensor | None) -> Tensor:
        total = sum(
            factor * term(logits, target) for term, factor in zip(self.terms, self.factors, strict=True)
        )
        assert isinstance(total, Tensor)
        if normalizer is None:
            return total
        return total * (self.normalizer(target) / normalizer.clamp_min(_TINY))


def _term(term: Mapping[str, Any], path: str, context: Mapping[str, Any]) -> tuple[BaseLoss, float]:
    unknown = term.keys() - {"type", "args", "weight"}
    if unknown:
        raise ConfigError(f"{path}.{min(unknown)}: a term takes type, args and weight")
    factor = term.get("weight", 1.0)
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 <= factor < float("inf"):
        raise ConfigError(f"{path}.weight: expected a number, at least 0, got {factor!r}")
    if not isinstance(term.get("type"), str):
        raise ConfigError(f"{path}.type: the name of a loss is needed")
    losses = sys.modules["utils.losses"]  # the catalogue that this class is in
    spec = {"type": term["type"], "args": term.get("args", {})}
    return build(losses, BaseLoss, spec, path, **context), float(factor)
