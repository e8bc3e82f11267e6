"""COCO-Stuff against its official tables, in both editions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

from base.base_dataset import SampleKey
from dataloaders.coco import COCODataSet
from tests.dataloaders.trees import coco, picture, save
from utils.errors import LabelError


def test_coco_has_the_171_classes_that_occur(tmp_path):
    """D24, D25: eleven ids are not used; every class has a colour of its own."""
    dataset = COCODataSet(**coco(tmp_path), split="train")
    assert len(dataset.classes) == 171 == len(set(dataset.info.palette))
    names = dict(zip(dataset.info.label_ids, dataset.classes, strict=True))
    assert (names[0], names[12], names[89], names[91], names[181]) == (
        "person", "stop sign", "toothbrush", "banner", "wood",
    )  # fmt: skip
    with pytest.raises(LabelError, match="value 11 "):
        dataset.table.encode(np.array([[11]], np.uint8), "m")


def test_coco_10k_reads_mat_files_of_ids_from_1(tmp_path):
    (tmp_path / "imageLists").mkdir()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "imageLists" / "train.txt").write_text("COCO_1\n")
    grey = picture((16, 16), 1)[..., 0]
    save(tmp_path / "images" / "COCO_1.jpg", grey)  # D12: some are grey
    label = np.repeat(np.array([[0, 1, 13, 182]], np.uint16), 16, axis=0).repeat(4, axis=1)
    savemat(tmp_path / "annotations" / "COCO_1.mat", {"S": label})
    item = COCODataSet(str(tmp_path), "train", "CocoStuff10k", val=True).load(SampleKey(0, 0))
    assert item.image.shape == (16, 16, 3)
    assert item.label[0, ::4].tolist() == [255, 0, 11, 170]
    with pytest.raises(ValueError, match="CocoStuff10k has no 'val2017'"):
        COCODataSet(str(tmp_path), "val2017", "CocoStuff10k")


def test_a_split_of_the_other_edition_is_found_before_anything_is_read():
    assert COCODataSet.check_arguments({"split": "train", "partition": "CocoStuff10k"}, "x") == []
    assert COCODataSet.check_arguments({"split": "val2017", "partition": "CocoStuff10k"}, "x") == [
        "x.split: CocoStuff10k has no 'val2017'; choose from: train, test, all"
    ]
