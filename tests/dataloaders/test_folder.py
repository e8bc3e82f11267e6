from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from base.base_dataset import SampleKey
from dataloaders.folder import Folder, FolderDataSet
from tests.dataloaders.trees import blocks, folder, picture, save
from tests.experiments import open_data
from utils.errors import ConfigError, DataError, LabelError

BINARY = {"classes": ["background", "cell"], "values": [0, 255]}


def tree(root, count=6, values=(0, 255), ending="", images="images", masks="masks", extension=".png"):
    for number in range(count):
        save(root / images / f"s{number // 2}_{number}.jpg", picture((24, 32), number))
        save(
            root / masks / f"s{number // 2}_{number}{ending}{extension}",
            blocks((24, 32), list(values), number),
        )
    return str(root)


def names(dataset):
    return [sample.image_id for sample in dataset.files]


def test_255_is_a_class_where_the_config_says_so(tmp_path):
    """D29: values are named, not guessed by a threshold."""
    dataset = FolderDataSet(tree(tmp_path), val=True, **BINARY)
    item = dataset.load(SampleKey(0, 0))
    assert set(np.unique(item.label)) == {0, 1}
    assert dataset.info.num_classes == 2


def test_255_is_an_error_until_it_is_named(tmp_path):
    root = tree(tmp_path)
    with pytest.raises(LabelError, match=r'"values": \[0, 255\]'):
        FolderDataSet(root, ["background", "cell"], val=True).load(SampleKey(0, 0))
    void = FolderDataSet(root, ["background", "cell"], void=[255], val=True).load(SampleKey(0, 0))
    assert set(np.unique(void.label)) == {0, 255}


def test_classes_are_merged_and_several_values_are_void(tmp_path):
    root = tree(tmp_path, values=(0, 1, 4, 7, 9))
    dataset = FolderDataSet(root, ["a", "b"], values={"b": 7, "a": [0, 1, 4]}, void=[9], val=True)
    raw = np.asarray(Image.open(tmp_path / "masks" / "s0_0.png"))
    expected = np.select([raw == 7, raw == 9], [1, 255], 0)
    assert np.array_equal(dataset.load(SampleKey(0, 0)).label, expected)


def test_suffixes_dots_and_spaces_in_names(tmp_path):
    dataset = FolderDataSet(**folder(tmp_path))
    assert names(dataset) == [f"cell {n}.v2" for n in range(4)]
    assert dataset.files[2].mask.name == "cell 2.v2_mask.png"


def test_a_suffix_may_name_the_extension(tmp_path):
    root = tree(tmp_path, ending="_mask", extension=".gif")
    save(tmp_path / "masks" / "s0_0_mask.png", blocks((24, 32), [0, 255], 0))  # another copy of one mask
    with pytest.raises(DataError, match="same name"):
        FolderDataSet(root, mask_suffix="_mask", **BINARY)
    assert FolderDataSet(root, mask_suffix="_mask.gif", **BINARY).files[0].mask.suffix == ".gif"


def test_nested_folders_are_matched_by_their_path(tmp_path):
    for city in ("a", "b"):
        tree(tmp_path, 2, images=f"images/{city}", masks=f"masks/{city}")
    dataset = FolderDataSet(str(tmp_path), images="images/**/*.jpg", masks="masks/**/*.png", **BINARY)
    assert names(dataset) == ["a/s0_0", "a/s0_1", "b/s0_0", "b/s0_1"]
    assert all(s.image.parent.name == s.mask.parent.name for s in dataset.files)


def test_brackets_in_a_name_are_just_a_name(tmp_path):
    """D36."""
    save(tmp_path / "images" / "x[1].png", picture((8, 8), 0))
    save(tmp_path / "masks" / "x[1].png", blocks((8, 8), [0, 255], 0))
    assert names(FolderDataSet(str(tmp_path), **BINARY)) == ["x[1]"]


def test_missing_masks_are_named_and_counted(tmp_path):
    root = tree(tmp_path)
    for number in (1, 3):
        (tmp_path / "masks" / f"s{number // 2}_{number}.png").unlink()
    with pytest.raises(DataError, match=r"2 of 6 images have no mask: .*s0_1\.jpg, .*s1_3\.jpg.*mask_suffix"):
        FolderDataSet(root, **BINARY)


def test_splits_by_folder(tmp_path):
    for split in ("train", "val"):
        tree(tmp_path, 2, images=f"{split}/img", masks=f"{split}/lab")
    paths = {"images": "{split}/img", "masks": "{split}/lab"}
    train, val = (FolderDataSet(str(tmp_path), split=split, **paths, **BINARY) for split in ("train", "val"))
    assert train.files[0].image.parts[-3] == "train" and val.files[0].mask.parts[-3] == "val"
    with pytest.raises(DataError, match="trian"):
        FolderDataSet(str(tmp_path), split="trian", **paths, **BINARY)


def test_splits_by_list(tmp_path):
    root = tree(tmp_path)
    (tmp_path / "train.txt").write_bytes("\ufeffs0_0\r\n\r\n  s1_2.jpg \r\n".encode())
    (tmp_path / "val.txt").write_text("images/s2_4.jpg masks/s2_4.png\n")
    train, val = (FolderDataSet(root, split=s, list_file="{split}.txt", **BINARY) for s in ("train", "val"))
    assert names(train) == ["s0_0", "s1_2"] and names(val) == ["images/s2_4"]
    (tmp_path / "bad.txt").write_text("s0_0\nnobody\n")
    with pytest.raises(DataError, match=r"bad\.txt, entry 2: 'nobody'"):
        FolderDataSet(root, list_file="bad.txt", **BINARY)


def test_splits_by_fraction_and_by_fold_keep_groups_together(tmp_path):
    root = tree(tmp_path, 10)
    options = {"group": r"^(s\d+)_", **BINARY}
    parts = [FolderDataSet(root, split=s, val_fraction=0.4, **options) for s in ("train", "val")]
    assert sorted(names(parts[0]) + names(parts[1])) == names(FolderDataSet(root, split="all", **options))
    assert not set(parts[0].groups()) & set(parts[1].groups()) and len(parts[1]) == 4
    seen = []
    for fold in range(5):
        val = FolderDataSet(root, split="val", folds=5, fold=fold, **options)
        train = FolderDataSet(root, split="train", folds=5, fold=fold, **options)
        assert not set(train.groups()) & set(val.groups()) and len(train) == 8
        seen += names(val)
    assert sorted(seen) == names(FolderDataSet(root, split="all", **options))


def test_colour_masks(tmp_path):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
    index = blocks((24, 32), [0, 1, 2, 3], 0)
    save(tmp_path / "images" / "a.png", picture((24, 32), 0))
    save(tmp_path / "masks" / "a.png", colours[index])
    dataset = FolderDataSet(
        str(tmp_path), ["none", "red", "blue"], colors=colours[:3].tolist(), color_masks=True,
        void_colors=[[255, 255, 255]], val=True,
    )  # fmt: skip
    assert np.array_equal(dataset.load(SampleKey(0, 0)).label, np.where(index == 3, 255, index))
    assert dataset.info.palette == ((0, 0, 0), (255, 0, 0), (0, 0, 255))


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_number_of_channels_and_sixteen_bits(tmp_path, channels, dtype):
    (tmp_path / "images").mkdir()
    top = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, top, (24, 32, channels)).astype(dtype)
    np.save(tmp_path / "images" / "a.npy", image)
    save(tmp_path / "masks" / "a.png", blocks((24, 32), [0, 1], 0))
    dataset = FolderDataSet(str(tmp_path), ["a", "b"], channels=channels, crop_size=16, rotate=True)
    assert dataset.load(SampleKey(0, 0)).image.shape == (16, 16, channels)
    whole = FolderDataSet(str(tmp_path), ["a", "b"], channels=channels, val=True).load(SampleKey(0, 0))
    assert np.abs(whole.image - image.astype(float) * 255 / top).max() <= 0.5


def test_twelve_bit_images_are_stretched(tmp_path):
    (tmp_path / "images").mkdir()
    values = np.array([[0, 1000, 2047, 4095, 9000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "a.png", np.zeros((1, 5), np.uint8))
    dataset = FolderDataSet(str(tmp_path), ["a"], channels=1, value_range=(0, 4095), val=True)
    assert dataset.load(SampleKey(0, 0)).image[0, :, 0].tolist() == [0, 62, 127, 255, 255]


def test_images_without_masks(tmp_path):
    tree(tmp_path)
    dataset = FolderDataSet(str(tmp_path), masks=None, split="test", val=True, **BINARY)
    assert (dataset.load(SampleKey(0, 0)).label == 255).all()


def test_a_list_without_splits_is_divided_like_the_files_of_a_folder(tmp_path, monkeypatch):
    root = tree(tmp_path, images="odd")
    listed = [f"odd/s{n // 2}_{n}.jpg\tmasks/s{n // 2}_{n}.png" for n in (0, 1, 3, 4, 5)]
    (tmp_path / "pairs.txt").write_text("\n".join(listed))  # no folder "images": no line needs one
    options = {"list_file": "pairs.txt", "group": r"(s\d+)_", **BINARY}
    train, val = (FolderDataSet(root, split=s, val_fraction=0.4, **options) for s in ("train", "val"))
    assert sorted(names(train) + names(val)) == [f"odd/s{n // 2}_{n}" for n in (0, 1, 3, 4, 5)]
    assert not {name[:6] for name in names(train)} & {name[:6] for name in names(val)}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "pairs.txt").write_text(
        "../odd/s0_0.jpg ../masks/s0_0.png"
    )  # beside the config, not the data
    assert len(FolderDataSet("deep", list_file="pairs.txt", **BINARY).files) == 1


@pytest.mark.parametrize(("args", "message"), [
    ({"values": [0]}, "values: 1 entries for 2 classes"),
    ({"values": {"background": 0, "cel": 255}}, "unknown: cel"),
    ({"values": {"background": 0}}, "missing: cell"),
    ({"values": [0, 0]}, "two meanings"),
    ({"void": [255]}, "two meanings"),
    ({"colors": [[0, 0, 0], [0, 0, 300]]}, "no colour"),
    ({"color_masks": True}, "color_masks"),
    ({"classes": ["cell", "cell"]}, "two classes have the same name"),
    ({"split": "val"}, "val_fraction"),
    ({"folds": 3, "fold": 3}, "fold 3 of 3"),
    ({"folds": 3, "val_fraction": 0.1}, "splits come either"),
    ({"folds": 30, "split": "val"}, "30 folds"),
    ({"group": "("}, "regular expression"),
    ({"mean": [0.5]}, "1 numbers for 3 channels"),
    ({"value_range": [9, 3]}, "value_range"),
    ({"channels": 0}, "channels"),
    ({"clases": ["a"]}, "did you mean 'classes'"),
])  # fmt: skip
def test_mistakes_are_config_errors(tmp_path, args, message):
    args = {"data_dir": tree(tmp_path), "batch_size": 2, **BINARY, **args}
    with pytest.raises(ConfigError, match=message):
        open_data({"type": "Folder", "args": args})


def test_mistakes_of_all_groups_of_options_are_found_together_without_the_data():
    args = {
        "data_dir": "nowhere", "batch_size": 2, "classes": ["a", "b"], "values": [0], "folds": 3, "fold": 3,
        "mean": [0.5], "split": "trian", "flip": True, "rotate": [9.0, 3.0],
    }  # fmt: skip
    found = [problem.split(": ")[0] for problem in Folder.check_arguments(args, "x")]
    assert found == ["x.values", "x.fold", "x.mean", "x.split", "x.rotate"]


@pytest.mark.parametrize("args", [
    {"split": "2019", "images": "{split}/images"}, {"split": "2019", "list_file": "{split}.txt"},
    {"split": "val", "val_fraction": 0.2}, {"split": "val", "folds": 5}, {"split": "test"}, {},
    {"classes": ["cell"], "values": {"cell": 255}}, {"classes": ["cell"], "values": [255], "void": [7]},
])  # fmt: skip
def test_splits_and_classes_that_the_options_describe_are_accepted(args):
    args = {"data_dir": "nowhere", "batch_size": 2, **BINARY, **args}
    assert Folder.check_arguments(args, "train_loader.args") == []


def test_a_single_class_gets_a_background(tmp_path):
    dataset = FolderDataSet(tree(tmp_path), ["cell"], values={"cell": 255}, colors=[[9, 9, 9]], val=True)
    assert dataset.info.classes == ("background", "cell")
    assert dataset.info.palette == ((0, 0, 0), (9, 9, 9))
    raw = np.asarray(Image.open(tmp_path / "masks" / "s0_0.png"))
    assert np.array_equal(dataset.load(SampleKey(0, 0)).label, raw == 255)
