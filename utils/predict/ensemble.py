"""Ensembles: several networks that predict as one, by mean probability or by majority vote, band by band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from utils.dataset_info import class_order
from utils.errors import ConfigError
from utils.predict.predictor import Predictor
from utils.predict.rows import BAND_ROWS, Band
from utils.predict.scores import argmax_classes

Rule = Literal["mean", "majority"]


class Ensemble:
    """Combines predictors of the same classes, in memory that depends on neither image count nor height.

    * ``mean``: the average of the members' probabilities, weighted where weights are given.
    * ``majority``: every member votes for its best class at each pixel. Of several classes with the
      most votes the one with the higher mean probability wins; if these are equal too, the lowest index.

    The order of the members does not matter: sums are taken in float64.

    Args:
        members: at least one; they may differ in architecture and in their options. Classes are
            matched by name.
        rule: ``mean`` or ``majority``.
        weights: one number above 0 per member, for ``mean`` only; ``None`` means equal weights.

    Raises:
        ConfigError: there is no member, no such rule, the members' classes differ, or the weights do not fit.
    """

    def __init__(
        self, members: Sequence[Predictor], rule: Rule = "mean", weights: Sequence[float] | None = None
    ) -> None:
        if not members:
            raise ConfigError("an ensemble needs at least one member")
        if rule not in ("mean", "majority"):
            raise ConfigError(f"rule: there is no '{rule}'; choose mean or majority")
        if weights is not None:
            if rule == "majority":
                raise ConfigError("weights are for the rule mean; in a majority every member has one vote")
            if len(weights) != len(members) or not all(np.isfinite(w) and w > 0 for w in weights):
                raise ConfigError(f"weights: {len(members)} numbers above 0 are expected, one per member")
        self.info = members[0].info
        self.rule = rule
        self.members = list(members)
        self._members = [(member, _class_order(self.info.classes, member)) for member in members]
        given = np.asarray(weights or [1.0] * len(members), dtype=np.float64)
        self._weights = given / given.sum()

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Return (H, W) uint8 class indices of an (H, W, C) uint8 image."""
        return self.predict_with_disagreement(image)[0]

    def predict_with_disagreement(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return class indices, and the share of members that chose another class.

        Returns:
            (H, W) uint8 class indices; (H, W) uint8 disagreement: 255 times the share of members whose
            best class is not the one that most members chose, so 0 where all agree.
        """
        mask = np.empty(image.shape[:2], dtype=np.uint8)
        disagreement = np.empty_like(mask)
        for band, differing in self.bands_with_disagreement(image):
            rows = slice(band.top, band.top + len(differing))
            mask[rows] = argmax_classes(band.scores).cpu().numpy()
            disagreement[rows] = differing.cpu().numpy()
        return mask, disagreement

    def bands(self, image: np.ndarray) -> Iterator[Band]:
        """Yield scores from top to bottom: mean probabilities, or shares of votes whose ties they break."""
        for band, _ in self.bands_with_disagreement(image):
            yield Band(band.top, band.scores.float())

    def bands_with_disagreement(self, image: np.ndarray) -> Iterator[tuple[Band, Tensor]]:
        """Yield the scores, here in float64, and (rows, W) uint8 disagreement (0..255)."""
        for top, mean, votes in self._combine(image):
            disagreement = 1 - votes.amax(dim=-1) / len(self._members)
            yield Band(top, self._scores(mean, votes)), disagreement.mul(255).round().to(torch.uint8)

    @torch.inference_mode()
    def _combine(self, image: np.ndarray) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield per band its top, the weighted mean (float64) and the votes (float32), both (rows, W, C)."""
        streams = [even_bands(member.bands(image), image.shape[0]) for member, _ in self._members]
        for bands in zip(*streams, strict=True):
            scores = [
                band.scores[..., order] if order else band.scores
                for band, (_, order) in zip(bands, self._members, strict=True)
            ]
            mean = torch.zeros_like(scores[0], dtype=torch.float64)
            votes = torch.zeros_like(scores[0])
            for part, weight in zip(scores, self._weights, strict=True):
                mean.add_(part, alpha=float(weight))
                votes.scatter_add_(
                    -1, part.argmax(dim=-1, keepdim=True), votes.new_ones(1).expand_as(part[..., :1])
                )
            yield bands[0].top, mean, votes

    def _scores(self, mean: Tensor, votes: Tensor) -> Tensor:
        """Return (rows, W, C) scores that sum to 1 and are highest for the class that the rule chooses."""
        if self.rule == "mean" or mean.shape[-1] == 1:
            return mean
        # vote counts are integers and the means sum to 1, so half the mean can only break ties
        return (votes + 0.5 * mean) / (len(self._members) + 0.5)


def even_bands(bands: Iterator[Band], height: int, rows: int = BAND_ROWS) -> Iterator[Band]:
    """Regroup bands of any height into bands of ``rows`` rows; the last one has the remaining rows.

    A band that spans several given ones is a copy, so at most one band is held.

    Args:
        bands: from top to bottom, without gaps.
        height: rows of all bands together.
        rows: rows of the new bands.
    """
    held: list[Tensor] = []
    top = 0
    for band in bands:
        at = 0
        while at < len(band.scores):
            missing = min(rows, height - top) - sum(map(len, held))
            piece = band.scores[at : at + missing]
            at += len(piece)
            if len(piece) < missing:
                held.append(piece.clone())  # the next band reuses this one's memory
                continue
            yield Band(top, torch.cat([*held, piece]) if held else piece)
            held, top = [], top + rows


def _class_order(classes: Sequence[str], member: Predictor) -> list[int]:
    """Return the member's index of each class; an empty list where the order is the same.

    Raises:
        ConfigError: the member has other classes.
    """
    try:
        order = class_order(classes, member.info.classes)
    except ValueError as error:
        raise ConfigError(f"the members' classes differ: one {error}") from error
    return [] if order == list(range(len(order))) else order
