"""Facts of the official data sets, against figures published with them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.io import savemat

from base.base_dataset import SampleKey
from dataloaders.ade20k import ADE20KDataSet
from dataloaders.camvid import CamVidDataSet
from dataloaders.carvana import CarvanaDataSet
from dataloaders.cityscapes import CityScapesDataSet
from dataloaders.clothes import ClothesDataSet
from dataloaders.coco import COCODataSet
from dataloaders.deepscene import DeepSceneDataSet
from dataloaders.sbd import SBDDataSet
from dataloaders.tianchi import TianChiDataSet
from dataloaders.voc import VOCDataSet
from tests.dataloaders.trees import (
    ade20k,
    blocks,
    carvana,
    cityscapes,
    clothes,
    coco,
    deepscene,
    picture,
    save,
    sbd,
    tianchi,
)
from utils.errors import DataError, LabelError


def test_voc_and_camvid_have_their_official_classes():
    """D27: also the normalisation that ImageNet's weights expect."""
    names = "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    names += "pottedplant sheep sofa train tvmonitor"
    assert VOCDataSet.classes == ("background", *names.split())
    for dataset in (VOCDataSet, CamVidDataSet):
        assert tuple(dataset.mean) == (0.485, 0.456, 0.406) and tuple(dataset.std) == (0.229, 0.224, 0.225)
    assert len(CamVidDataSet.classes) == 11 and CamVidDataSet.classes[3] == "Road"


def test_cityscapes_maps_raw_ids_as_the_official_table(tmp_path):
    table = CityScapesDataSet(**cityscapes(tmp_path), split="train").table
    raw = np.arange(34, dtype=np.uint8).reshape(1, -1)
    lut = np.full(256, 255, np.uint8)
    lut[:34] = table.encode(raw, "all ids")
    digest = "09a1b559c699d17c4ae2ca8a88fc38ec93b0b2e49f1a626e47a9a82aefa16689"
    assert hashlib.sha256(lut.tobytes()).hexdigest() == digest


def test_cityscapes_can_be_mapped_back_for_submission(tmp_path):
    info = CityScapesDataSet(**cityscapes(tmp_path), split="train").info
    assert info.label_ids[:4] == (7, 8, 11, 12) and info.label_ids[18] == 33
    assert info.palette[0] == (128, 64, 128) and info.palette[18] == (119, 11, 32)


@pytest.mark.parametrize("mode", ["fine", "coarse"])
def test_cityscapes_finds_both_kinds_of_labels(tmp_path, mode):
    """D19: coarse labels are found, and a missing label never shifts the pairs."""
    args = cityscapes(tmp_path)
    dataset = CityScapesDataSet(**args, split="val", mode=mode)
    assert len(dataset) == 4 and all(mode.capitalize() in s.mask.name for s in dataset.files)
    assert all(s.image.name.split("_left")[0] == s.mask.name.split("_gt")[0] for s in dataset.files)
    dataset.files[0].mask.unlink()
    with pytest.raises(DataError, match="1 images have no mask.*aachen_000000"):
        CityScapesDataSet(**args, split="val", mode=mode)


def test_cityscapes_extra_images_have_coarse_labels_only(tmp_path):
    args = cityscapes(tmp_path)
    assert len(CityScapesDataSet(**args, split="train_extra", mode="coarse")) == 4
    with pytest.raises(ValueError, match="coarse"):
        CityScapesDataSet(**args, split="train_extra")


def test_carvana_never_divides_a_car(tmp_path):
    """D21."""
    args = carvana(tmp_path)
    train, val, both = (CarvanaDataSet(**args, split=s) for s in ("train", "val", "trainval"))
    assert len(both) == 6 and sorted(train.files + val.files) == both.files
    assert not set(train.groups()) & set(val.groups())
    assert (CarvanaDataSet(**args, split="test").load(SampleKey(0, 0)).label == 255).all()
    assert set(np.unique(both.load(SampleKey(0, 0)).label)) == {0, 1}


def test_ade20k_shifts_labels_and_colours_together(tmp_path):
    """D23, D24: 0 is void, never -1; wall is grey, not black."""
    dataset = ADE20KDataSet(**ade20k(tmp_path), split="train")
    assert len(dataset.classes) == 150 and dataset.classes[0] == "wall" and dataset.classes[149] == "flag"
    assert dataset.info.palette[0] == (120, 120, 120) and dataset.info.palette[2] == (6, 230, 230)
    raw = np.array([[0, 1, 2, 150]], np.uint8)
    assert dataset.table.encode(raw, "m").tolist() == [[255, 0, 1, 149]]
    with pytest.raises(LabelError, match="value 151"):
        dataset.table.encode(raw + 1, "m")


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


def test_deepscene_knows_void_and_refuses_unknown_colours(tmp_path):
    """D26."""
    dataset = DeepSceneDataSet(**deepscene(tmp_path), split="train", val=True)
    assert "void" not in [name.lower() for name in dataset.classes]
    assert (dataset.load(SampleKey(0, 0)).label == 255).any()
    mask = np.full((48, 64, 3), 7, np.uint8)
    save(dataset.files[0].mask, mask)
    with pytest.raises(LabelError, match="colour"):
        dataset.load(SampleKey(0, 0))


def test_tianchi_runs_down_the_columns_and_empty_is_background(tmp_path):
    """D28, B8."""
    args = tianchi(tmp_path)
    both = TianChiDataSet(**args, split="trainval", val=True)
    for index in range(5):
        expected = blocks((32, 32), [0, 1], index) if index else np.zeros((32, 32))
        assert np.array_equal(both.load(SampleKey(0, index)).label, expected)
    train, val = (TianChiDataSet(**args, split=split) for split in ("train", "val"))
    assert len(val) == 1 and not {s.image_id for s in train.files} & {s.image_id for s in val.files}
    (tmp_path / "train_mask.csv").write_text("KWP8J3TRS1.jpg\t5 x\n")
    with pytest.raises(DataError, match="KWP8J3TRS1.jpg"):
        TianChiDataSet(**args, split="trainval", val=True).load(SampleKey(0, 0))


def test_clothes_leaves_out_photos_without_labels(tmp_path):
    """D35."""
    args = clothes(tmp_path)
    both = ClothesDataSet(**args, split="trainval")
    assert len(both) == 6 and len(both.classes) == 59 and both.classes[41] == "skin"
    both.files[0].mask.write_bytes(b"not a mat file")
    with pytest.raises(DataError, match="0000.mat"):
        both.load(SampleKey(0, 0))


def test_sbd_reads_the_struct_of_its_mat_files(tmp_path):
    item = SBDDataSet(**sbd(tmp_path), split="train", val=True).load(SampleKey(0, 0))
    assert set(np.unique(item.label)) == {0, 7, 20}
