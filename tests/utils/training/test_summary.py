"""The summary at the top of a log."""

from __future__ import annotations

import logging

from tests.parts import INFO, TinyNet
from utils.dataset_info import DatasetInfo, voc_palette
from utils.training.summary import log_summary


class Loader:
    def __init__(self, images: int, batches: int, info: DatasetInfo = INFO) -> None:
        self.dataset, self.batches, self.info = range(images), batches, info

    def __len__(self) -> int:
        return self.batches


def test_it_counts_parameters_images_batches_and_classes(caplog):
    caplog.set_level(logging.INFO)
    model = TinyNet(3)
    model.last.requires_grad_(False)
    log_summary(model, Loader(10, 3), Loader(4, 2))
    assert caplog.messages == [
        "TinyNet: 0.00 M parameters, 0.00 M of them trained",
        "Training: 10 images in 3 batches",
        "Validation: 4 images in 2 batches",
        "3 classes: a, b, c",
    ]


def test_a_long_list_of_classes_is_cut(caplog):
    caplog.set_level(logging.INFO)
    names = tuple(f"c{number}" for number in range(40))
    log_summary(TinyNet(3), Loader(1, 1, DatasetInfo(names, tuple(voc_palette(40)))), None)
    assert caplog.messages[-1].startswith("40 classes: c0, c1") and caplog.messages[-1].endswith("c24, ...")
