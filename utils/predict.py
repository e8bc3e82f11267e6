"""Turns one image into class probabilities, at the image's own resolution, within bounded memory.

Every mode is the same procedure: the image is scaled, cut into windows (one window is the whole image),
each window goes through the network under each transform of ``tta``, and the softmax probabilities are
resampled to the image's resolution and added, weighted, to a buffer that holds only the rows that are
still incomplete. Rows leave it in bands as soon as the last window that touches them is done.

Multi-scale and mirrored evaluation: Chen et al., "Encoder-Decoder with Atrous Separable Convolution",
2018. Blended overlapping windows: Isensee et al., "nnU-Net", 2021, with weights that sum to 1 exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.dataset_info import DatasetInfo
from utils.errors import DataError
from utils.precision import Precision
from utils.predict_options import PredictOptions
from utils.scores import decide, mean_probability, resample, scroll
from utils.tiling import Span, plan_axis, scaled_size, source_positions
from utils.tta import TRANSFORMS, Transform

logger = logging.getLogger(__name__)

BAND_ROWS = 128


class Band(NamedTuple):
    """Consecutive rows of a result.

    Attributes:
        top: first row.
        scores: (rows, W, C) float32 on the device; probabilities that sum to 1 over the classes. Valid
            until the next band is asked for.
    """

    top: int
    scores: Tensor


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
        self._transforms = [TRANSFORMS[name] for name in self.options.tta]
        self._mean = torch.tensor(info.mean, device=self.device).mul(255).view(1, -1, 1, 1)
        self._std = torch.tensor(info.std, device=self.device).mul(255).view(1, -1, 1, 1)
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
        passes = self._plan(image.shape[0], image.shape[1])
        first = passes[0]
        single = len(passes) == 1 and len(first.rows) == len(first.columns) == 1
        if single and not first.rows[0].resampled and not first.columns[0].resampled:
            yield from self._whole(source, ranking)
        else:
            yield from self._blend(source, passes)

    # ---- planning -------------------------------------------------------------------------------

    def _plan(self, height: int, width: int) -> list[_Pass]:
        scales = self.options.scales if self.options.mode == "multiscale" else (1.0,)
        return [self._plan_pass(height, width, scale) for scale in scales]

    def _plan_pass(self, height: int, width: int, scale: float) -> _Pass:
        options = self.options
        scaled = scaled_size(height, scale), scaled_size(width, scale)
        in_windows = options.mode == "sliding"
        if options.mode == "multiscale" and scaled[0] * scaled[1] > options.max_whole_pixels:
            in_windows = True
            if not self._windowed_said:
                self._windowed_said = True
                logger.info(
                    "%dx%d pixels at scale %g are more than max_whole_pixels: predicted in windows",
                    scaled[1],
                    scaled[0],
                    scale,
                )
        axes = []
        for length, window in zip((height, width), options.window, strict=True):
            stride = max(1, round(window * (1 - options.overlap)))
            axes.append(
                plan_axis(
                    length, scale, window if in_windows else None, stride, options.margin if in_windows else 0
                )
            )
        return _Pass(*scaled, *axes)

    # ---- one window -----------------------------------------------------------------------------

    def _whole(self, source: Tensor, ranking: bool) -> Iterator[Band]:
        """The whole image in one window at its own scale: nothing to blend."""
        images = self._normalise(source.permute(2, 0, 1)[None])
        logits = [self._run(images, transform)[0] for transform in self._transforms]
        del images
        for top in range(0, source.shape[0], BAND_ROWS):
            part = [each[top : top + BAND_ROWS] for each in logits]
            if ranking and len(part) == 1 and self.info.num_classes > 1:  # the softmax keeps the order
                yield Band(top, part[0].float())
            else:
                yield Band(top, mean_probability(part))

    def _windows(self, windows: Tensor) -> Tensor:
        """Probabilities (N, h, w, C), averaged over the transforms, of normalised (N, C, h, w) windows."""
        return mean_probability([self._run(windows, transform) for transform in self._transforms])

    def _run(self, images: Tensor, transform: Transform) -> Tensor:
        """Logits (N, h, w, C) of transformed images, transformed back."""
        logits = self._forward(transform.apply(images).contiguous(memory_format=torch.channels_last))
        return transform.invert(logits).permute(0, 2, 3, 1)

    def _forward(self, images: Tensor) -> Tensor:
        """Logits; when they do not fit in memory, of half as many windows at a time."""
        while True:
            try:
                with self.precision.autocast():
                    parts = [self.model(part).logits for part in images.split(self.window_batch)]
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

    def _normalise(self, images: Tensor) -> Tensor:
        """0..255 of any type, (N, C, H, W), to zero mean and unit variance."""
        return images.to(torch.float32, copy=True).sub_(self._mean).div_(self._std)

    # ---- many windows ---------------------------------------------------------------------------

    def _blend(self, source: Tensor, passes: Sequence[_Pass]) -> Iterator[Band]:
        height, width = source.shape[:2]
        jobs = sorted(
            (_Job(row, plan) for plan in passes for row in plan.rows), key=lambda job: job.row.first
        )
        share = 1 / len(passes)
        tallest = max(job.row.stop - job.row.first for job in jobs)
        buffer = torch.zeros(
            (min(height, tallest + BAND_ROWS), width, self.info.num_classes), device=self.device
        )
        base = 0  # the row of the result that the buffer's first row is
        for row, plan in jobs:
            if row.stop - base > len(buffer):  # rows above this job's first are complete
                done = row.first - base
                yield Band(base, buffer[:done])
                scroll(buffer, done)
                base = row.first
            self._add_row(source, plan, row, buffer[row.first - base : row.stop - base], share)
        yield Band(base, buffer[: height - base])

    def _add_row(self, source: Tensor, plan: _Pass, row: Span, target: Tensor, share: float) -> None:
        """Predict one row of windows and add it to its rows of the buffer."""
        strip = self._strip(source, plan, row)
        row_weight = torch.from_numpy(row.weight * np.float32(share)).to(self.device)
        for at in range(0, len(plan.columns), self.window_batch):
            columns = plan.columns[at : at + self.window_batch]
            windows = torch.stack([strip[..., c.start : c.start + c.size] for c in columns])
            for column, scores in zip(columns, self._windows(self._normalise(windows)), strict=True):
                scores = resample(resample(scores, row, 0), column, 1)
                weight = torch.outer(row_weight, torch.from_numpy(column.weight).to(self.device))
                target[:, column.first : column.stop].addcmul_(scores, weight[..., None])

    def _strip(self, source: Tensor, plan: _Pass, row: Span) -> Tensor:
        """(C, h, scaled width): the rows of the scaled image that a row of windows sees, 0..255."""
        height, width = source.shape[:2]
        if (plan.height, plan.width) == (height, width):
            return source[row.start : row.start + row.size].permute(2, 0, 1)
        lower, upper, fraction = source_positions(plan.height, height)
        part = slice(row.start, row.start + row.size)
        first, last = int(lower[part][0]), int(upper[part][-1])
        pixels = source[first : last + 1].permute(2, 0, 1).to(torch.float32).contiguous()
        low, high = (torch.from_numpy(index[part] - first).to(self.device) for index in (lower, upper))
        between = torch.from_numpy(fraction[part].astype(np.float32)).to(self.device)[:, None]
        strip = torch.lerp(pixels.index_select(1, low), pixels.index_select(1, high), between)
        return F.interpolate(strip[None], size=(row.size, plan.width), mode="bilinear", align_corners=False)[
            0
        ]


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
