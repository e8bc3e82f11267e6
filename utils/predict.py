"""Segments one image of any size: whole, through sliding windows, or at several scales with flips.

Results come in bands of rows, so that the memory they take depends on the window and not on
classes x height x width. Probabilities are averaged, in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.dataset_info import DatasetInfo
from utils.lazy import lazy_import
from utils.precision import Precision

if TYPE_CHECKING:
    import cv2
else:
    cv2 = lazy_import("cv2")

Mode = Literal["whole", "sliding", "multiscale"]
SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
_DEFAULT_WINDOW = 512
_MAX_WHOLE_PIXELS = 4_000_000  # a scale with more pixels than this goes through windows


class Predictor:
    """Runs a model over images.

    Args:
        model: returns an object with ``logits`` of exactly the input's size.
        info: classes, and the normalisation that the model was trained with.
        device: where the model is.
        precision: arithmetic of the forward passes.
        window: (height, width) of sliding windows: the training crop, if it was one.
        overlap: share of a window that the next one covers again, 0 to below 1.
        scales: ratios of ``multiscale``.
        flip: ``multiscale`` also averages over the mirror image.
        batch_size: windows in one forward pass.

    Raises:
        ValueError: an overlap or a scale out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        info: DatasetInfo,
        device: torch.device,
        precision: Precision,
        *,
        window: tuple[int, int] | None = None,
        overlap: float = 0.5,
        scales: Sequence[float] = SCALES,
        flip: bool = True,
        batch_size: int = 4,
    ) -> None:
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap: {overlap} is not in 0 to below 1")
        if not scales or min(scales) <= 0:
            raise ValueError("scales: at least one, all above 0")
        self.model = model.eval()
        self.info = info
        self.device = device
        self.precision = precision
        self.window = window or (_DEFAULT_WINDOW, _DEFAULT_WINDOW)
        self.overlap = overlap
        self.scales = tuple(scales)
        self.flip = flip
        self.batch_size = batch_size
        shape = (1, -1, 1, 1)
        self._mean = torch.tensor(info.mean, device=device).mul(255).view(shape)
        self._std = torch.tensor(info.std, device=device).mul(255).view(shape)

    def labels(self, image: np.ndarray, mode: Mode) -> np.ndarray:
        """Segment one image.

        Args:
            image: (H, W, C) uint8, H and W at least 1.
            mode: ``whole``, ``sliding`` or ``multiscale``.

        Returns:
            (H, W) uint8 class indices.
        """
        result = np.empty(image.shape[:2], np.uint8)
        for top, band in self.bands(image, mode):
            result[top : top + band.shape[1]] = band.max(dim=0).indices.byte().cpu().numpy()
        return result

    def probabilities(self, image: np.ndarray, mode: Mode) -> np.ndarray:
        """(num_classes, H, W) float32 that sum to 1 over the classes; see :meth:`labels`."""
        return np.concatenate([band.cpu().numpy() for _, band in self.bands(image, mode)], axis=1)

    @torch.inference_mode()
    def bands(self, image: np.ndarray, mode: Mode) -> Iterator[tuple[int, Tensor]]:
        """Yield (first row, (num_classes, rows, W) probabilities) from top to bottom."""
        if mode == "whole":
            yield 0, self._run([image], flip=False)[0]
        elif mode == "sliding":
            yield from self._slide(image, self.window, flip=False)
        elif mode == "multiscale":
            yield 0, self._multiscale(image)
        else:
            raise ValueError(f"mode: '{mode}' is none of whole, sliding, multiscale")

    # ---- modes ----------------------------------------------------------------------------------

    def _slide(
        self, image: np.ndarray, window: tuple[int, int], *, flip: bool
    ) -> Iterator[tuple[int, Tensor]]:
        """Blend overlapping windows; a row is yielded when no further window will touch it."""
        height, width = image.shape[:2]
        size = min(window[0], height), min(window[1], width)
        tops = positions(height, size[0], self.overlap)
        lefts = positions(width, size[1], self.overlap)
        down = self._on_device(blend_weights(height, size[0], tops))
        across = self._on_device(blend_weights(width, size[1], lefts))
        open_rows: Tensor | None = None  # sums of the rows from the current window on
        for number, top in enumerate(tops):
            sums = torch.zeros((self.info.num_classes, size[0], width), device=self.device)
            if open_rows is not None:
                sums[:, : open_rows.shape[1]] = open_rows
            for start in range(0, len(lefts), self.batch_size):
                batch = range(start, min(start + self.batch_size, len(lefts)))
                tiles = [image[top : top + size[0], lefts[k] : lefts[k] + size[1]] for k in batch]
                for k, part in zip(batch, self._run(tiles, flip=flip), strict=True):
                    part = part * (down[number][:, None] * across[k])
                    sums[:, :, lefts[k] : lefts[k] + size[1]] += part
            done = (tops[number + 1] if number + 1 < len(tops) else height) - top
            yield top, sums[:, :done]
            open_rows = sums[:, done:].clone()

    def _multiscale(self, image: np.ndarray) -> Tensor:
        height, width = image.shape[:2]
        total = torch.zeros((self.info.num_classes, height, width), device=self.device)
        for scale in self.scales:
            scaled = _resize(image, scale)
            if scaled.shape[0] * scaled.shape[1] <= _MAX_WHOLE_PIXELS:
                part = self._run([scaled], flip=self.flip)[0]
            else:
                part = torch.cat([b for _, b in self._slide(scaled, self.window, flip=self.flip)], dim=1)
            if part.shape[1:] != total.shape[1:]:
                part = F.interpolate(part[None], size=(height, width), mode="bilinear", align_corners=False)[
                    0
                ]
            total += part
        return total / len(self.scales)

    # ---- the model ------------------------------------------------------------------------------

    def _run(self, images: Sequence[np.ndarray], *, flip: bool) -> Tensor:
        """Class probabilities (N, num_classes, H, W) in fp32 of images of one size."""
        pixels = np.stack([np.ascontiguousarray(image) for image in images])
        batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float()
        batch = batch.sub_(self._mean).div_(self._std)  # channels_last: it was NHWC
        with self.precision.autocast():
            logits = self.model(batch).logits
            mirrored = self.model(batch.flip(3)).logits if flip else None
        result = logits.float().softmax(dim=1)
        if mirrored is not None:
            result = (result + mirrored.float().softmax(dim=1).flip(3)) / 2
        return result

    def _on_device(self, weights: np.ndarray) -> Tensor:
        return torch.from_numpy(weights).to(self.device)


def positions(length: int, window: int, overlap: float) -> list[int]:
    """Where windows start along one axis; the last one is shifted inside, so all lie in the image."""
    stride = max(1, round(window * (1 - overlap)))
    count = -(-max(0, length - window) // stride) + 1
    return [min(number * stride, length - window) for number in range(count)]


def blend_weights(length: int, window: int, starts: Sequence[int]) -> np.ndarray:
    """Weights of each window along one axis, (len(starts), window) float32.

    They fall off smoothly towards the edge of a window and sum to 1 at every pixel of the image.
    """
    ramp = np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2 + 1e-3
    sums = np.zeros(length)
    for start in starts:
        sums[start : start + window] += ramp
    return np.stack([ramp / sums[start : start + window] for start in starts]).astype(np.float32)


def _resize(image: np.ndarray, scale: float) -> np.ndarray:
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return image
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=interpolation).reshape(size[1], size[0], -1)
