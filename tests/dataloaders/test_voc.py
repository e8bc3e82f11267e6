"""PASCAL VOC: lists, folders and classes."""

from __future__ import annotations

import pytest

from base.base_dataset import SampleKey
from dataloaders.camvid import CamVidDataSet
from dataloaders.voc import VOCDataSet
from tests.dataloaders.trees import voc
from utils.errors import DataError


def test_voc_and_camvid_have_their_official_classes():
    """D27: also the normalisation that ImageNet's weights expect."""
    names = "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    names += "pottedplant sheep sofa train tvmonitor"
    assert VOCDataSet.classes == ("background", *names.split())
    for dataset in (VOCDataSet, CamVidDataSet):
        assert tuple(dataset.mean) == (0.485, 0.456, 0.406) and tuple(dataset.std) == (0.229, 0.224, 0.225)
    assert len(CamVidDataSet.classes) == 11 and CamVidDataSet.classes[3] == "Road"


def test_voc_takes_both_kinds_of_lists_and_every_place_of_the_folder(tmp_path):
    args = voc(tmp_path)
    for data_dir in (tmp_path, tmp_path / "VOC2012"):
        assert len(VOCDataSet(str(data_dir), "train")) == 4
    bare, paths = (VOCDataSet(**args, split=split) for split in ("train_aug", "trainval_aug"))
    assert [s[:3] for s in bare.files] == [s[:3] for s in paths.files]
    assert "SegmentationClassAug" in str(bare.files[0].mask)
    test = VOCDataSet(**args, split="test")
    assert (test.load(SampleKey(0, 0)).label == 255).all()


def test_voc_names_what_its_lists_name_and_is_not_there(tmp_path):
    args = voc(tmp_path)
    (tmp_path / "VOC2012" / "SegmentationClass" / "2007_000001.png").unlink()
    with pytest.raises(DataError, match=r"1 masks of the list are missing: .*2007_000001\.png"):
        VOCDataSet(**args, split="train")
    (tmp_path / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").write_text("\n \n")
    with pytest.raises(DataError, match="'val' has no images"):
        VOCDataSet(**args, split="val")
