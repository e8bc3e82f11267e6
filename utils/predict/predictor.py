"""Class probabilities of one image, at its own resolution, within bounded memory.

Every mode is the same procedure: the image is scaled, cut into windows (one window may cover the image),
and each window goes through the network under each symmetry of ``tta``. The logits are resampled to the
image's resolution, and their softmax is added up, weighted, band by band: only rows that are still
incomplete take memory, and they leave as soon as the last window that touches them is done.

Multi-scale and mirrored evaluation: Chen et al., "Encoder-Decoder with Atrous Separable Convolution",
2018. Blended overlapping windows: Isensee et al., "nnU-Net", 2021, with weights that sum to 1 exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from utils.dataset_info import DatasetInfo, normalise, swapped_classes
from utils.errors import ConfigError, DataError
from utils.predict.options import SYMMETRIES, PredictOptions
from utils.predict.resample import scaled_rows, source_rows
from utils.predict.rows import Band, RowAccumulator, logit_bands
from utils.predict.scores import argmax_classes
from utils.predict.window_logits import WindowLogits
from utils.predict.windows import ScalePlan, WindowSpan, plan_scale
from utils.system.precision import Precision

logger = logging.getLogger(__name__)


class _HasLogits(Protocol):
    """The output of a network."""

    @property
    def logits(self) -> Tensor: ...


class _WindowRow(NamedTuple):
    """One row of windows at one scale."""

    row: WindowSpan
    plan: ScalePlan


class Predictor:
    """Predicts images with one network.

    Args:
        model: its output has ``logits`` (N, C, H, W) at the size of its input. It is moved to the
            device and set to eval mode. Where it has ``forward_coarse``, as
            :class:`base.BaseModel` has, its logits are resized here, not by the model.
        info: classes, mean and std.
        device: device of the network and of the scores.
        precision: arithmetic of the forward passes; probabilities are float32 in any case.
        options: how images are predicted.
        flip_pairs: class names whose scores are swapped where the network sees a mirror image.
    """

    def __init__(
        self,
        model: nn.Module,
        info: DatasetInfo,
        device: torch.device | str = "cpu",
        precision: Precision | None = None,
        options: PredictOptions | None = None,
        flip_pairs: Sequence[Sequence[str]] = (),
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.info = info
        self.precision = precision or Precision("fp32", self.device.type)
        self.options = (options or PredictOptions()).for_model()
        self.window_batch = self.options.window_batch
        coarse = hasattr(self.model, "forward_coarse")  # without it, logits come at the size of the images
        self._forward_coarse: Callable[[Tensor], _HasLogits] = (
            self.model.forward_coarse if coarse else self.model
        )
        self._stride = getattr(self.model, "stride", 1) if coarse else 1
        self._symmetries = [SYMMETRIES[name] for name in self.options.tta or ()]
        self._swapped = swapped_classes(info.classes, flip_pairs) if flip_pairs else None
        self._announced_windows = False

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Return the class index of every pixel.

        Args:
            image: (H, W, C) uint8 with the channels that ``info.mean`` has.

        Returns:
            (H, W) uint8. With a single class, 0 where its probability is at least 0.5, void elsewhere.

        Raises:
            DataError: as :meth:`bands`.
        """
        result = np.empty(image.shape[:2], dtype=np.uint8)
        for top, scores in self._bands(image, order_only=True):
            result[top : top + len(scores)] = argmax_classes(scores).cpu().numpy()
        return result

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Return (C, H, W) float32 probabilities; for images small enough to hold them in memory."""
        result = np.empty((self.info.num_classes, *image.shape[:2]), dtype=np.float32)
        for top, scores in self.bands(image):
            result[:, top : top + len(scores)] = scores.permute(2, 0, 1).cpu().numpy()
        return result

    def bands(self, image: np.ndarray) -> Iterator[Band]:
        """Yield the probabilities from top to bottom; see :class:`utils.predict.rows.Band`.

        Args:
            image: (H, W, C) uint8.

        Raises:
            DataError: the image is not uint8 with the model's channels, or one window does not fit in memory.
        """
        return self._bands(image, order_only=False)

    @torch.inference_mode()
    def _bands(self, image: np.ndarray, *, order_only: bool) -> Iterator[Band]:
        """Yield scores; with ``order_only`` they need not sum to 1 as long as their order is right."""
        if image.ndim != 3 or image.shape[2] != self.info.in_channels or image.dtype != np.uint8:
            raise DataError(
                f"the image is {image.dtype} of shape {image.shape}; "
                f"uint8 with {self.info.in_channels} channels is expected"
            )
        writable = np.require(image, requirements=["C", "W"])  # torch warns of read-only arrays
        source = torch.from_numpy(writable).to(self.device)
        yield from self._accumulate(source, self._plans(image.shape[0], image.shape[1]), order_only)

    def _plans(self, height: int, width: int) -> list[ScalePlan]:
        """Plan the windows at every scale; the first image that is too large for one pass is announced.

        Raises:
            ConfigError: windows and margin leave pixels uncovered.
        """
        multiscale = self.options.mode == "multiscale"
        plans = []
        for scale in self.options.scales if multiscale else (1.0,):
            try:
                plan = plan_scale(height, width, scale, self.options)
            except ValueError as error:
                raise ConfigError(f"--window, --window-overlap, --window-margin: {error}") from error
            plans.append(plan)
            too_large = multiscale and plan.height * plan.width > self.options.max_whole_pixels
            if too_large and not self._announced_windows:
                self._announced_windows = True
                logger.info(
                    "%dx%d pixels at scale %g are more than max_whole_pixels: predicted in windows of %dx%d",
                    plan.width,
                    plan.height,
                    scale,
                    plan.columns[0].size,
                    plan.rows[0].size,
                )
        return plans

    def _accumulate(self, source: Tensor, plans: Sequence[ScalePlan], order_only: bool) -> Iterator[Band]:
        """Predict from top to bottom; rows leave as soon as every window that touches them is added.

        Logits are kept as they are while that is cheaper than a buffer of their pixels' scores.
        """
        height, width = source.shape[:2]
        window_rows = [_WindowRow(row, plan) for plan in plans for row in plan.rows]
        window_rows.sort(key=lambda each: each.row.first)
        count = sum(len(each.plan.columns) for each in window_rows) * len(self._symmetries)
        tallest = max(each.row.stop - each.row.first for each in window_rows)
        result = RowAccumulator(height, width, self.info.num_classes, tallest, self.device)
        share = 1 / (len(plans) * len(self._symmetries))
        for row, plan in window_rows:
            yield from result.complete(row.first)
            for window in self._predict_row(source, plan, row, share):
                if order_only and count == 1 and self.info.num_classes > 1:
                    yield from logit_bands(window)  # the softmax would keep their order
                    return
                result.add(window, keep=count <= 2 or window.is_coarse)
        yield from result.complete(height)

    def _predict_row(
        self, source: Tensor, plan: ScalePlan, row: WindowSpan, share: float
    ) -> Iterator[WindowLogits]:
        """Predict one row of windows, in batches, under every symmetry."""
        strip = self._strip(source, plan, row)
        fitting = self.options.max_whole_pixels // (row.size * plan.columns[0].size)
        batch = max(1, min(self.window_batch, fitting))
        for at in range(0, len(plan.columns), batch):
            columns = plan.columns[at : at + batch]
            parts = [strip[..., c.start : c.start + c.size] for c in columns]
            windows = parts[0] if len(parts) == 1 else torch.cat(parts)
            for symmetry in self._symmetries:
                images = _channels_last(symmetry.apply(windows))
                height, width = (side + -side % self._stride for side in images.shape[-2:])
                batch_logits = self._forward(images)
                if self._swapped is not None and symmetry.mirrors:
                    batch_logits = batch_logits[:, self._swapped]
                for column, logits in zip(columns, batch_logits, strict=True):
                    yield WindowLogits(logits, row, column, (height, width), symmetry, share)

    def _forward(self, images: Tensor) -> Tensor:
        """Return logits (N, C, h, w); on lack of memory, retry with half as many windows at a time."""
        while True:
            try:
                with self.precision.autocast():
                    batches = torch.split(images, self.window_batch)
                    parts = [self._forward_coarse(part).logits for part in batches]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                smaller = min(self.window_batch, len(images)) // 2
            self._shrink(smaller, images)

    def _shrink(self, window_batch: int, images: Tensor) -> None:
        """Lower the number of windows per forward pass, for this image and all later ones."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if window_batch < 1:
            height, width = images.shape[-2:]
            raise DataError(
                f"{width}x{height} pixels at once do not fit in memory; use mode sliding, or a smaller window"
            )
        logger.warning("out of memory: continuing with %d windows at a time", window_batch)
        self.window_batch = window_batch

    def _strip(self, source: Tensor, plan: ScalePlan, row: WindowSpan) -> Tensor:
        """Return the normalised rows of the scaled image that a row of windows sees: (1, C, h, scaled width)."""
        height, width = source.shape[:2]
        rows = slice(row.start, row.start + row.size)
        if (plan.height, plan.width) == (height, width):
            pixels = normalise(source[rows], self.info)
        else:
            pixels = normalise(source[source_rows(rows, plan.height, height)], self.info)
            pixels = scaled_rows(pixels, rows, plan.height, height, plan.width)
        return pixels.permute(2, 0, 1)[None]


def _channels_last(images: Tensor) -> Tensor:
    """Return (N, C, H, W) images in the layout that torch recognises as channels last.

    For a single image torch accepts any stride of the first axis as channels last, but chooses its kernels by
    that stride: with another one a network took 1.6 times as long.
    """
    _, channels, height, width = images.shape
    dense = images.contiguous(memory_format=torch.channels_last)
    return dense.as_strided(images.shape, (channels * height * width, 1, width * channels, channels))


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
