"""Takes uint8 batches from a loader and yields normalised ones on the device, one ahead of the model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from utils.data.batch import Batch, DeviceBatch
from utils.dataset_info import DatasetInfo


class Prefetcher:
    """Uploads and normalises batches; on a GPU on a stream of its own while the model computes.

    Args:
        loader: yields :class:`~utils.data.batch.Batch`.
        device: where the batches go.
        info: mean and standard deviation of the data set.
        channels_last: memory layout of the images that are yielded.

    Attributes:
        wait_seconds: time spent so far waiting for the loader, since :meth:`reset_wait`.
    """

    def __init__(
        self,
        loader: Iterable[Batch],
        device: torch.device,
        info: DatasetInfo,
        *,
        channels_last: bool = True,
    ) -> None:
        self.loader: Any = loader
        self.device = device
        self.channels_last = channels_last
        self.wait_seconds = 0.0
        shape = (1, info.in_channels, 1, 1)
        self._mean = torch.tensor(info.mean, device=device).mul(255).view(shape)
        self._std = torch.tensor(info.std, device=device).mul(255).view(shape)

    def __iter__(self) -> Iterator[DeviceBatch]:
        return self._iter_cuda() if self.device.type == "cuda" else map(self._prepare, self._timed())

    def reset_wait(self) -> float:
        """Return :attr:`wait_seconds` and start counting from 0 again."""
        waited, self.wait_seconds = self.wait_seconds, 0.0
        return waited

    def _timed(self) -> Iterator[Batch]:
        iterator = iter(self.loader)
        while True:
            start = time.perf_counter()
            batch = next(iterator, None)
            self.wait_seconds += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def _prepare(self, batch: Batch) -> DeviceBatch:
        images = batch.images.to(self.device, non_blocking=True)
        # NHWC bytes seen as NCHW are channels_last already: no copy
        images = images.permute(0, 3, 1, 2).to(torch.float32).sub_(self._mean).div_(self._std)
        if not self.channels_last:
            images = images.contiguous()
        target = batch.target.to(self.device, non_blocking=True).long()
        return DeviceBatch(images, target, batch.image_ids)

    def _iter_cuda(self) -> Iterator[DeviceBatch]:
        stream = torch.cuda.Stream(self.device)
        ready: tuple[DeviceBatch, torch.cuda.Event] | None = None
        for batch in self._timed():
            with torch.cuda.stream(stream):
                prepared = self._prepare(batch), stream.record_event()
            if ready is not None:
                yield self._hand_over(*ready)
            ready = prepared
        if ready is not None:
            yield self._hand_over(*ready)

    def _hand_over(self, batch: DeviceBatch, uploaded: torch.cuda.Event) -> DeviceBatch:
        """Make the model's stream wait for the upload, and keep the memory until that stream is done."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(uploaded)
        batch.images.record_stream(current)
        batch.target.record_stream(current)
        return batch
