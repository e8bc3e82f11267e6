"""From uint8 batches to normalised ones."""

from __future__ import annotations

import time

import pytest
import torch

import dataloaders
from base import SegmentationOutput
from tests.parts import INFO, RandomBatches
from utils.data.prefetch import Prefetcher
from utils.predict.predictor import Predictor

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


def test_a_data_set_item_equals_the_prefetched_batch_to_the_bit():
    loader = dataloaders.Shapes(split="train", batch_size=3, num_images=3, image_size=33, val=True)
    (batch,) = Prefetcher(loader, CPU, loader.info)
    for image, target, (item_image, item_target) in zip(
        batch.images, batch.target, loader.dataset, strict=True
    ):
        assert torch.equal(image, item_image) and torch.equal(target, item_target)
        assert item_image.is_contiguous()


def test_the_predictor_sees_what_training_sees():
    class Probe(torch.nn.Module):
        def forward(self, images):
            self.seen = images.clone()
            return SegmentationOutput(images[:, :3])

    (raw,) = RandomBatches(1, batch_size=1)
    (batch,) = Prefetcher([raw], CPU, INFO)
    probe = Probe()
    Predictor(probe, INFO).predict(raw.images[0].numpy())
    assert torch.equal(probe.seen, batch.images)


def test_waiting_for_the_loader_is_measured():
    def slow():
        time.sleep(0.05)
        yield from RandomBatches(1)

    prefetcher = Prefetcher(slow(), CPU, INFO)
    list(prefetcher)
    assert 0.05 <= prefetcher.reset_wait() < 5
    assert prefetcher.wait_seconds == 0


@pytest.mark.parametrize("length", [0, 1, 3])
def test_yields_every_batch_once(length):
    prefetcher = Prefetcher(RandomBatches(length), CPU, INFO)
    assert len(list(prefetcher)) == length
    assert len(list(prefetcher)) == length
