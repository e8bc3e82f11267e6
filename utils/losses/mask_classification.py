"""The loss of models that predict a set of masks, each with a class.

Cheng, Schwing, Kirillov, "Per-Pixel Classification is Not All You Need for Semantic Segmentation", 2021, and
Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation", 2022.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.dataset_info import IGNORE_INDEX
from utils.losses.training import ModelOutput, TrainingLoss


class MaskWeights(NamedTuple):
    """Weights of the parts of the loss, in the matching too.

    Attributes:
        label: cross-entropy of the class of each query.
        mask: binary cross-entropy of matched masks.
        dice: Dice loss of matched masks.
        no_object: weight of queries without a segment in the cross-entropy.
    """

    label: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1


class Segments(NamedTuple):
    """The classes of an image, seen at some of its valid pixels.

    Attributes:
        labels: (K,) the classes in the image, ascending.
        masks: (K, P) float, 1 where a pixel is of the class.
        pixels: (P,) indices of the pixels by rows.
    """

    labels: Tensor
    masks: Tensor
    pixels: Tensor


class MaskClassificationLoss(TrainingLoss):
    """Cross-entropy of classes, binary cross-entropy and Dice of masks, after the best matching of each image.

    A segment is all pixels of one class in one image. Each is matched with the query that costs least in all
    (Hungarian matching); the other queries learn that they have no object. Every prediction in ``extra`` (those
    of the blocks and the last one) has its own matching, and their losses add up. Masks are compared at valid
    pixels only, and an image without a valid pixel counts for nothing.

    The losses of masks are divided by the number of segments of the step, the cross-entropy by the weights of
    all queries, so parts of a step add up exactly where every pixel is used.

    Args:
        num_classes: number of classes; the scores of a query have one more, for no object, at the end.
        queries: number of queries.
        stride: the sides of the images are padded to multiples of it, which the masks cover.
        weights: weights of the parts.
        points: pixels of each image at which masks are compared, drawn anew for each step; 0 takes all.
        ignore_index: void.
    """

    def __init__(
        self,
        num_classes: int,
        queries: int,
        stride: int = 1,
        weights: MaskWeights = MaskWeights(),  # noqa: B008 (immutable)
        points: int = 12544,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        self.num_classes, self.queries, self.stride = num_classes, queries, stride
        self.weights, self.points, self.ignore_index = weights, points, ignore_index

    def normalizer(self, target: Tensor) -> Tensor:
        """Sum of the weights of all queries, and number of segments (2,)."""
        segments = self._present(target).sum(dim=1).clamp_max(self.queries).float()
        matched, queries = segments.sum(), self.queries * (segments > 0).sum()
        return torch.stack([matched + self.weights.no_object * (queries - matched), matched])

    def _shares(self, output: ModelOutput, target: Tensor, normalizer: Tensor) -> dict[str, Tensor]:
        labels, masks = output.extra[0::2], output.extra[1::2]
        total = torch.stack([part.sum() * 0 for part in output.extra]).sum().expand(3)
        for number, image in enumerate(target):
            segments = self.segments(image)
            if len(segments.labels) == 0:
                continue
            for scores, maps in zip(labels, masks, strict=True):
                values = self.sample(maps[number], segments.pixels, image.shape)
                fitting = segments._replace(masks=segments.masks.to(values.dtype))
                total = total + self._parts(scores[number], values, fitting)
        weights = total.new_tensor([self.weights.label, self.weights.mask, self.weights.dice])
        divisors = normalizer[[0, 1, 1]].to(total.dtype).clamp_min(torch.finfo(torch.float32).tiny)
        label, mask, dice = (total * weights / divisors).unbind()
        return {"loss": label + mask + dice, "loss_class": label, "loss_mask": mask, "loss_dice": dice}

    def segments(self, target: Tensor) -> Segments:
        """Return the segments of one target (H, W), at drawn pixels where it has more than :attr:`points`."""
        flat = target.flatten()
        pixels = (flat != self.ignore_index).nonzero()[:, 0]
        # of all pixels, because a drawn set may miss a small segment
        labels = torch.unique(flat[pixels])
        if 0 < self.points < len(pixels):
            pixels = pixels[torch.randint(len(pixels), (self.points,), device=pixels.device)]
        return Segments(labels, (flat[pixels] == labels[:, None]).float(), pixels)

    def sample(self, maps: Tensor, pixels: Tensor, size: tuple[int, ...]) -> Tensor:
        """Resize the masks (Q, h, w) of a padded image bilinearly, at pixels of the image only.

        Args:
            maps: logits that cover the image padded to :attr:`stride`.
            pixels: (P,) indices of pixels by rows.
            size: (H, W) of the image without padding.

        Returns:
            (Q, P) logits.
        """
        height, width = (side + -side % self.stride for side in size)
        if (
            maps.is_cuda and torch.are_deterministic_algorithms_enabled()
        ):  # torch has no such gradient of a sample
            full = F.interpolate(maps[None], (height, width), mode="bilinear", align_corners=False)[0]
            return full[:, : size[0], : size[1]].flatten(1)[:, pixels]
        rows, columns = (side.to(maps.dtype) for side in (pixels // size[1], pixels % size[1]))
        places = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
        return F.grid_sample(maps[None], places[None, None], padding_mode="border", align_corners=False)[
            0, :, 0
        ]

    def match(self, scores: Tensor, values: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
        """Return the queries and the segments of the matching that costs least in all.

        Args:
            scores: (Q, num_classes + 1) logits of classes.
            values: (Q, P) logits of masks at the pixels of the segments.
            segments: of the image.

        Returns:
            Indices of queries and of segments, each (min(Q, K),).
        """
        from scipy.optimize import linear_sum_assignment  # slow to import, and for training only

        with torch.no_grad():
            count = max(values.shape[1], 1)
            # the cross-entropy with 1 where a pixel is of the segment, with 0 elsewhere
            inside, outside = F.softplus(-values), F.softplus(values)
            entropy = (inside @ segments.masks.T + outside @ (1 - segments.masks).T) / count
            cost = (
                self.weights.label * -scores.softmax(dim=-1)[:, segments.labels]
                + self.weights.mask * entropy
                + self.weights.dice * _dice(values.sigmoid() @ segments.masks.T, values, segments.masks)
            )
            cost = cost.nan_to_num(1e9, 1e9, -1e9)  # what is not finite shows in the loss
            queries, found = linear_sum_assignment(cost.double().cpu().numpy())
        device = scores.device
        return torch.as_tensor(queries, device=device), torch.as_tensor(found, device=device)

    def _parts(self, scores: Tensor, values: Tensor, segments: Segments) -> Tensor:
        """Sums of the three losses over the queries or the matched masks of one prediction of one image (3,)."""
        queries, found = self.match(scores, values, segments)
        labels = torch.full((len(scores),), self.num_classes, device=scores.device)
        labels[queries] = segments.labels[found]
        each = F.cross_entropy(scores, labels, reduction="none")
        entropy = torch.where(labels == self.num_classes, self.weights.no_object * each, each).sum()
        matched, masks = values[queries], segments.masks[found]
        mask = F.binary_cross_entropy_with_logits(matched, masks, reduction="none").mean(dim=1).sum()
        overlap = (matched.sigmoid() * masks).sum(dim=1)
        sums = matched.sigmoid().sum(dim=1) + masks.sum(dim=1)
        dice = (1 - (2 * overlap + 1) / (sums + 1)).sum()
        return torch.stack([entropy, mask, dice])

    def _present(self, target: Tensor) -> Tensor:
        """Which classes each image of (N, H, W) has: (N, num_classes) bool."""
        flat = target.flatten(1)
        valid = flat != self.ignore_index
        found = torch.zeros(len(flat), self.num_classes + 1, dtype=torch.bool, device=flat.device)
        found.scatter_(1, torch.where(valid, flat, self.num_classes), True)
        return found[:, : self.num_classes]


def _dice(overlap: Tensor, values: Tensor, masks: Tensor) -> Tensor:
    """Dice losses (Q, K) of all pairs from the sums of their products, smoothed by 1."""
    sums = values.sigmoid().sum(dim=1)[:, None] + masks.sum(dim=1)[None]
    return 1 - (2 * overlap + 1) / (sums + 1)
