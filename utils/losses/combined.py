"""Weighted sums of losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from utils.config.annotations import NonNegativeFloat
from utils.config.factory import Catalogue, Component, build, check_component
from utils.config.parse import Mistakes, read_section
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

    adds_up = False

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


@dataclass(frozen=True)
class Term(Component):
    """A loss in a :class:`Sum`.

    Attributes:
        type: the loss.
        args: arguments of its constructor.
        weight: its factor in the sum.
    """

    weight: NonNegativeFloat = 1.0


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
        if problems := self.check_arguments({"terms": terms}, "loss.args"):
            raise ConfigError(problems)
        given = {"weight": weight, "num_classes": num_classes, "ignore_index": ignore_index}
        context = {key: value for key, value in given.items() if value is not None}
        parts = _read_terms(terms, "loss.args.terms", Mistakes())
        self.terms = nn.ModuleList(
            build(_catalogue(), part, f"loss.args.terms[{number}]", **context)
            for number, part in enumerate(parts)
        )
        self.factors = [float(part.weight) for part in parts]

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return every mistake in the terms, one line each with its JSON path."""
        if not args["terms"]:
            return [f"{path}.terms: at least one is needed"]
        found = Mistakes()
        _read_terms(args["terms"], f"{path}.terms", found)
        return found.problems

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


def _catalogue() -> Catalogue[BaseLoss]:
    from utils.losses.build import LOSSES  # the catalogue holds this module's classes too

    return LOSSES


def _read_terms(terms: Sequence[Any], path: str, found: Mistakes) -> list[Term]:
    sections = []
    for number, term in enumerate(terms):
        place = f"{path}[{number}]"
        section = read_section(Term, term, place, found)
        if not found.spoil(f"{place}.type") and not found.spoil(f"{place}.args"):
            found.add(check_component(_catalogue(), section, place))
        sections.append(section)
    return sections
