"""CamVid: pairs and classes."""

from __future__ import annotations

import pytest

from dataloaders.camvid import CamVidDataSet
from tests.dataloaders.trees import camvid, picture, save
from utils.errors import DataError


def test_camvid_pairs_by_name(tmp_path):
    """D19, D20: one mask less is an error, not a shift of all that follow."""
    args = camvid(tmp_path)
    (tmp_path / "trainannot" / "0001TP_1.png").unlink()
    with pytest.raises(DataError, match=r"1 images have no mask: .*0001TP_1\.jpg"):
        CamVidDataSet(**args, split="train")
    dataset = CamVidDataSet(**args, split="val")
    assert dataset._load_data(0)[1].max() == 255  # 11 is void
    save(tmp_path / "val" / "0001TP_0.png", picture((48, 64), 9))
    with pytest.raises(DataError, match="same name"):
        CamVidDataSet(**args, split="val")
