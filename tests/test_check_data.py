from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import check_data
from tests.dataloaders.trees import blocks, picture, save

ARGS = {"classes": ["background", "cell"], "values": [0, 255], "images": "{split}/i", "masks": "{split}/m"}


@pytest.fixture
def data(tmp_path):
    for offset, split in ((0, "train"), (50, "val")):
        for number in range(6):
            save(tmp_path / split / "i" / f"{number}.png", picture((32, 40), offset + 3 * number))
            save(tmp_path / split / "m" / f"{number}.png", blocks((32, 40), [0, 255], number))
    return tmp_path


def run(data, capsys, **args):
    def loader(split):
        return {
            "type": "Folder",
            "args": {"data_dir": str(data), "split": split, "batch_size": 2, **ARGS, **args},
        }

    config = {"train_loader": loader("train"), "val_loader": loader("val")}
    (data / "config.json").write_text(json.dumps(config))
    code = check_data.main(["--config", str(data / "config.json")])
    text = capsys.readouterr()
    code_json = check_data.main(["--config", str(data / "config.json"), "--json"])
    plain = capsys.readouterr().out
    assert code == code_json
    return code, text.out + text.err, json.loads(plain) if plain else None


def test_good_data_is_ready(data, capsys):
    code, text, plain = run(data, capsys)
    assert code == 0 and "0 errors, 0 warnings: ready to train" in text
    train = plain["splits"][0]
    pixels = sum((blocks((32, 40), [0, 255], n) == 255).sum() for n in range(6))
    assert train["pixels"] == [6 * 32 * 40 - pixels, pixels] and train["images_with"] == [6, 6]
    stack = np.stack([picture((32, 40), 3 * n) for n in range(6)]) / 255
    assert np.allclose(train["mean"], stack.mean(axis=(0, 1, 2)), atol=1e-4)
    assert np.allclose(train["std"], stack.std(axis=(0, 1, 2)), atol=1e-4)
    assert len(plain["weights"]) == 2


def test_one_wrong_pixel_among_all_masks_is_named(data, capsys):
    mask = blocks((32, 40), [0, 255], 3)
    mask[7, 9] = 37
    save(data / "train" / "m" / "3.png", mask)
    code, text, plain = run(data, capsys)
    assert code == 2 and "training would fail" in text
    assert "3.png: value 37 at 0.0781 % of its pixels, first at row 7, column 9" in text
    assert plain["failed"] and plain["splits"][0]["problems"][0]["level"] == "error"


def test_every_kind_of_broken_pair_is_reported_at_once(data, capsys):
    images, masks = data / "train" / "i", data / "train" / "m"
    save(masks / "0.png", picture((32, 40), 0))  # a colour mask
    save(masks / "1.png", blocks((30, 40), [0, 255], 1))  # another size
    (images / "2.png").write_bytes((images / "2.png").read_bytes()[:-60])
    (masks / "3.png").write_bytes(b"")
    (masks / "4.png").unlink()
    Image.fromarray(blocks((32, 40), [0, 255], 4)).save(masks / "4.jpg")
    code, text, _ = run(data, capsys)
    assert code == 2
    for words in (
        "1 masks are colour images", "1 image and mask differ in size", "1 images cannot be read",
        "1 masks cannot be read", "1 masks are JPEGs", "40x32", "40x30",
    ):  # fmt: skip
        assert words in text, words


def test_what_is_odd_but_not_fatal_is_a_warning(data, capsys):
    save(data / "train" / "m" / "0.png", np.zeros((32, 40), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(picture((32, 40), 3)).save(data / "train" / "i" / "1.png", exif=exif)
    for number in range(6):
        save(data / "val" / "m" / f"{number}.png", np.zeros((32, 40), np.uint8))
    code, text, _ = run(data, capsys)
    assert code == 0
    assert "1 masks hold one class only" in text and "1 photos carry an EXIF rotation" in text
    assert "classes in no mask of this split: cell" in text


def test_images_in_two_splits_are_found(data, capsys):
    shutil.copy(data / "train" / "i" / "2.png", data / "val" / "i" / "2.png")
    almost = picture((32, 40), 3 * 4).astype(int) + np.random.default_rng(0).integers(-2, 3, (32, 40, 3))
    save(data / "val" / "i" / "4.png", almost.clip(0, 255).astype(np.uint8))
    code, text, _ = run(data, capsys)
    assert code == 0
    assert "1 images are in train_loader (train) and in val_loader (val)" in text
    assert "1 images in val_loader (val) look almost like one in" in text


def test_missing_pairs_are_one_line(data, capsys):
    (data / "train" / "m" / "5.png").unlink()
    code, text, _ = run(data, capsys)
    assert code == 2 and "1 of 6 images have no mask" in text and "Traceback" not in text


def test_a_config_mistake_is_one_line(data, capsys):
    code, text, _ = run(data, capsys, mask_sufix="_m")
    assert code == 2 and "did you mean 'mask_suffix'" in text


def test_embedded_data_can_be_examined_too(tmp_path, capsys):
    spec = {"type": "Shapes", "args": {"split": "train", "batch_size": 2, "num_images": 6, "val_split": 2}}
    (tmp_path / "c.json").write_text(json.dumps({"train_loader": spec}))
    assert check_data.main(["-c", str(tmp_path / "c.json")]) == 0
    assert "val_split): 2 images" in capsys.readouterr().out


def test_images_that_train_refuses_to_validate_on_are_an_error(data, capsys):
    code, text, plain = run(data, capsys, images="train/i", masks="train/m", list_file="{split}.txt")
    assert code == 2  # no list yet
    for split, names in (("train", "0123"), ("val", "2345")):
        (data / f"{split}.txt").write_text("\n".join(names))
    code, text, plain = run(data, capsys, images="train/i", masks="train/m", list_file="{split}.txt")
    assert code == 2 and "ERROR: 2 image files of val_loader (val) are in train_loader (train) too" in text
    assert [problem["kind"] for problem in plain["between"]].count("same_file") == 1
    assert check_data.main(["--config", str(data / "config.json"), "--set", "allow_overlap=true"]) == 0


@pytest.mark.slow
def test_a_batch_larger_than_the_images_is_an_error_as_in_training(data, capsys):
    """D25."""
    code, text, plain = run(data, capsys, batch_size=7)
    assert (
        code == 2 and "ERROR: train_loader.args.batch_size: 7 is more than the 6 images of an epoch" in text
    )
    assert "batch_size" in [problem["kind"] for problem in plain["between"]]
    assert run(data, capsys, batch_size=7, repeat=2)[0] == 0
