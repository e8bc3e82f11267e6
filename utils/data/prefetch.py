"""Upload of uint8 batches from a loader, normalised on the device, one batch ahead of the model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import torch

from utils.data.batch import Batch, DeviceBatch
from utils.dataset_info import DatasetInfo, normalise


class Prefetcher:
    """Iterable of uploaded, normalised batches; a GPU works on them in a stream of its own.

    Args:
        loader: yields :class:`~utils.data.batch.Batch`.
        device: destination of the batches.
        info: mean and standard deviation of the data set.
        channels_last: memory layout of the images; False makes them contiguous.

    Attributes:
        wait_seconds: time spent waiting for the loader since :meth:`reset_wait`.
    """

    def __init__(
        self,
        loader: Iterable[Batch],
        device: torch.device,
        info: DatasetInfo,
        *,
        channels_last: bool = True,
    ) -> None:
        self.loader = loader
        self.device = device
        self.info = info
        self.channels_last = channels_last
        self.wait_seconds = 0.0

    def __iter__(self) -> Iterator[DeviceBatch]:
        return self._iter_cuda() if self.device.type == "cuda" else map(self.prepare, self._timed())

    def prepare(self, batch: Batch) -> DeviceBatch:
        """Upload and normalise one batch."""
        images = batch.images.to(self.device, non_blocking=True)
        # NHWC seen as NCHW is channels_last already: no copy
        images = normalise(images, self.info).permute(0, 3, 1, 2)
        if not self.channels_last:
            images = images.contiguous()
        target = batch.target.to(self.device, non_blocking=True).long()
        return DeviceBatch(images, target, batch.image_ids)

    def reset_wait(self) -> float:
        """Return :attr:`wait_seconds` and start again from 0."""
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

    def _iter_cuda(self) -> Iterator[DeviceBatch]:
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        ready: tuple[DeviceBatch, torch.cuda.Event] | None = None
        for batch in self._timed():
            with torch.cuda.stream(stream):
                prepared = self.prepare(batch), stream.record_event()
            if ready is not None:
                yield self._hand_over(*ready)
            ready = prepared
        if ready is not None:
            yield self._hand_over(*ready)

    def _hand_over(self, batch: DeviceBatch, uploaded: torch.cuda.Event) -> DeviceBatch:
        """Make the model's stream wait for the upload; keep the memory until that stream has read it."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(uploaded)
        batch.images.record_stream(current)
        batch.target.record_stream(current)
        return batch
