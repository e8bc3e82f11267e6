"""Turns one image into class probabilities, at the image's own resolution, within bounded memory.

Every mode is the same procedure: the image is scaled, cut into windows (one window is the whole image),
and each window goes through the network under each transform of ``tta``. The logits are resampled to the
image's resolution, and their softmax is added up, weighted, band by band: only rows that are still
incomplete take memory, and they leave as soon as the last window that touches them is done.

Multi-scale and mirrored evaluation: Chen et al., "Encoder-Decoder with Atrous Separable Convolution",
2018. Blended overlapping windows: Isensee et al., "nnU-Net", 2021, with weights that sum to 1 exactly.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from utils.dataset_info import DatasetInfo, normalise
from utils.errors import DataError
from utils.predict.layer import ScoreLayer
from utils.predict.options import TRANSFORMS, PredictOptions
from utils.predict.resample import scaled_rows, source_rows
from utils.predict.rows import Band, Rows, logit_bands
from utils.predict.scores import decide
from utils.predict.windows import Span, plan_axis, scaled_size
from utils.system.precision import Precision

logger = logging.getLogger(__name__)

_EVEN = 32  # what most networks pad to


class _Pass(NamedTuple):
    """The image at one scale, as one row of windows after the other."""

    height: int
    width: int
    rows: list[Span]
    columns: list[Span]


class _Job(NamedTuple):
    """One row of windows of one pass."""

    row: Span
    plan: _Pass


class Predictor:
    """Predicts images with one network.

    Args:
        model: its output has ``logits`` (N, C, H, W) at the size of its input. It is moved to the
            device and set to eval mode.
        info: classes, mean and std.
        device: where it runs.
        precision: arithmetic of the forward passes; probabilities are float32 in any case.
        options: how images are predicted.
    """

    def __init__(
        self,
        model: nn.Module,
        info: DatasetInfo,
        device: torch.device | str = "cpu",
        precision: Precision | None = None,
        options: PredictOptions | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.info = info
        self.precision = precision or Precision("fp32", self.device.type)
        self.options = options or PredictOptions()
        self.window_batch = self.options.window_batch
        # a model that can leave the resizing to us is asked to
        self._network = getattr(self.model, "unfitted", self.model)
        self._stride = getattr(self.model, "stride", 1) if self._network is not self.model else 1
        self._transforms = [TRANSFORMS[name] for name in self.options.tta]
        self._windowed_said = False

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Class indices of every pixel.

        Args:
            image: (H, W, C) uint8 with the channels that ``info.mean`` has.

        Returns:
            (H, W) uint8. With a single class, 0 where its probability is at least 0.5 and else void.
        """
        result = np.empty(image.shape[:2], dtype=np.uint8)
        for top, scores in self._bands(image, ranking=True):
            result[top : top + len(scores)] = decide(scores).cpu().numpy()
        return result

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """(C, H, W) float32 probabilities; for images small enough to hold that."""
        result = np.empty((self.info.num_classes, *image.shape[:2]), dtype=np.float32)
        for top, scores in self.bands(image):
            result[:, top : top + len(scores)] = scores.permute(2, 0, 1).cpu().numpy()
        return result

    def bands(self, image: np.ndarray) -> Iterator[Band]:
        """The probabilities from top to bottom; see :class:`Band`.

        Args:
            image: (H, W, C) uint8.

        Raises:
            DataError: the image has another number of channels, or one window does not fit in memory.
        """
        return self._bands(image, ranking=False)

    @torch.inference_mode()
    def _bands(self, image: np.ndarray, *, ranking: bool) -> Iterator[Band]:
        """With ``ranking``, scores need not sum to 1 as long as their order is right."""
        if image.ndim != 3 or image.shape[2] != self.info.in_channels or image.dtype != np.uint8:
            raise DataError(
                f"the image is {image.dtype} of shape {image.shape}; "
                f"uint8 with {self.info.in_channels} channels is expected"
            )
        source = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        yield from self._bands_of(source, self._plan(image.shape[0], image.shape[1]), ranking)

    # ---- planning -------------------------------------------------------------------------------

    def _plan(self, height: int, width: int) -> list[_Pass]:
        scales = self.options.scales if self.options.mode == "multiscale" else (1.0,)
        return [self._plan_pass(height, width, scale) for scale in scales]

    def _plan_pass(self, height: int, width: int, scale: float) -> _Pass:
        options = self.options
        scaled = scaled_size(height, scale), scaled_size(width, scale)
        windows: tuple[int, int] | tuple[None, None] = (None, None)
        if options.mode == "sliding":
            windows = options.window
        elif options.mode == "multiscale" and scaled[0] * scaled[1] > options.max_whole_pixels:
            windows = _large_window(*scaled, options)
            if not self._windowed_said:
                self._windowed_said = True
                logger.info(
                    "%dx%d pixels at scale %g are more than max_whole_pixels: predicted in windows of %dx%d",
                    *scaled[::-1],
                    scale,
                    *windows[::-1],
                )
        axes = []
        for length, window, crop in zip((height, width), windows, options.window, strict=True):
            shared = round(crop * options.overlap)  # large windows need no wider seam than small ones
            stride = max(1, (window or length) - shared)
            axes.append(plan_axis(length, scale, window, stride, options.margin if window else 0))
        return _Pass(*scaled, *axes)

    # ---- the network ----------------------------------------------------------------------------

    def _forward(self, images: Tensor) -> Tensor:
        """Logits (N, C, h, w); when they do not fit in memory, of half as many windows at a time."""
        while True:
            try:
                with self.precision.autocast():
                    parts = [self._network(part).logits for part in images.split(self.window_batch)]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                smaller = min(self.window_batch, len(images)) // 2
            self._shrink(smaller, images)

    def _shrink(self, window_batch: int, images: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if window_batch < 1:
            height, width = images.shape[-2:]
            raise DataError(
                f"{width}x{height} pixels at once do not fit in memory; use mode sliding, or a smaller window"
            )
        logger.warning("out of memory: going on with %d windows at a time", window_batch)
        self.window_batch = window_batch

    # ---- many windows ---------------------------------------------------------------------------

    def _bands_of(self, source: Tensor, passes: Sequence[_Pass], ranking: bool) -> Iterator[Band]:
        """Predict from top to bottom; rows leave as soon as no window that touches them is missing.

        Layers are kept as they are while that is cheaper than a buffer of their pixels' scores.
        """
        height, width = source.shape[:2]
        jobs = [_Job(row, plan) for plan in passes for row in plan.rows]
        jobs.sort(key=lambda job: job.row.first)
        count = sum(len(job.plan.columns) for job in jobs) * len(self._transforms)
        tallest = max(job.row.stop - job.row.first for job in jobs)
        result = Rows(height, width, self.info.num_classes, tallest, self.device)
        for row, plan in jobs:
            yield from result.complete(row.first)
            for layer in self._layers(source, plan, row, 1 / (len(passes) * len(self._transforms))):
                if ranking and count == 1 and self.info.num_classes > 1:
                    yield from logit_bands(layer)  # the softmax would keep their order
                    return
                result.add(layer, keep=count <= 2 or layer.is_coarse)
        yield from result.complete(height)

    def _layers(self, source: Tensor, plan: _Pass, row: Span, share: float) -> Iterator[ScoreLayer]:
        """Predict one row of windows."""
        strip = self._strip(source, plan, row)
        fitting = self.options.max_whole_pixels // (row.size * plan.columns[0].size)
        batch = max(1, min(self.window_batch, fitting))
        for at in range(0, len(plan.columns), batch):
            columns = plan.columns[at : at + batch]
            parts = [strip[..., c.start : c.start + c.size] for c in columns]
            windows = parts[0] if len(parts) == 1 else torch.cat(parts)
            for transform in self._transforms:
                images = _channels_last(transform.apply(windows))
                height, width = (side + -side % self._stride for side in images.shape[-2:])
                for column, logits in zip(columns, self._forward(images), strict=True):
                    yield ScoreLayer(logits, row, column, (height, width), transform, share)

    def _strip(self, source: Tensor, plan: _Pass, row: Span) -> Tensor:
        """(1, C, h, scaled width), normalised: the rows of the scaled image that a row of windows sees."""
        height, width = source.shape[:2]
        rows = slice(row.start, row.start + row.size)
        if (plan.height, plan.width) == (height, width):
            pixels = normalise(source[rows], self.info)
        else:
            pixels = normalise(source[source_rows(rows, plan.height, height)], self.info)
            pixels = scaled_rows(pixels, rows, plan.height, height, plan.width)
        return pixels.permute(2, 0, 1)[None]


def _channels_last(images: Tensor) -> Tensor:
    """The same (N, C, H, W) images in that layout, as torch recognises it.

    With one image any stride of the first axis passes for channels last, but torch chooses its kernels by that
    stride too: a network took 1.6 times as long.
    """
    _, channels, height, width = images.shape
    dense = images.contiguous(memory_format=torch.channels_last)
    return dense.as_strided(images.shape, (channels * height * width, 1, width * channels, channels))


def _large_window(height: int, width: int, options: PredictOptions) -> tuple[int, int]:
    """Windows of at most ``max_whole_pixels``, but not below those of mode sliding, and as few as can be."""
    side = math.isqrt(options.max_whole_pixels)
    if height <= side:
        large = height, options.max_whole_pixels // height
    elif width <= side:
        large = options.max_whole_pixels // width, width
    else:
        large = side, side
    rows, columns = options.window
    return (
        _even_window(height, max(large[0], rows), round(rows * options.overlap)),
        _even_window(width, max(large[1], columns), round(columns * options.overlap)),
    )


def _even_window(length: int, largest: int, shared: int) -> int:
    """The smallest window of which no more are needed than of the largest, if they share some pixels."""
    if largest >= length:
        return length
    count = math.ceil((length - shared) / max(1, largest - shared))
    even = math.ceil((length + (count - 1) * shared) / count)
    return min(even + -even % _EVEN, largest)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
