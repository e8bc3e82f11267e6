"""From uint8 batches to normalised ones."""

from __future__ import annotations

import pytest
import torch

from tests.parts import INFO, RandomBatches
from utils.data.prefetch import Prefetcher

CPU = torch.device("cpu")


def test_normalises_and_keeps_the_layout():
    (raw,) = RandomBatches(1)
    (batch,) = Prefetcher([raw], CPU, INFO)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (INFO.mean, INFO.std))
    expected = (raw.images.permute(0, 3, 1, 2).float() / 255 - mean) / std
    torch.testing.assert_close(batch.images, expected)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.target.dtype == torch.int64
    assert torch.equal(batch.target, raw.target.long())
    assert batch.image_ids == raw.image_ids


def test_other_layout():
    (batch,) = Prefetcher(RandomBatches(1), CPU, INFO, channels_last=False)
    assert batch.images.is_contiguous()


@pytest.mark.parametrize("length", [0, 1, 3])
def test_yields_every_batch_once(length):
    prefetcher = Prefetcher(RandomBatches(length), CPU, INFO)
    assert len(list(prefetcher)) == length
    assert len(list(prefetcher)) == length
    assert prefetcher.reset_wait() >= 0
    assert prefetcher.wait_seconds == 0
