"""Small data sets in their official layout, drawn on the spot: one builder per registered name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZES = [(48, 64), (64, 48), (40, 40), (33, 65)]  # height, width


def picture(size: tuple[int, int], seed: int) -> np.ndarray:
    """A smooth colour image, so that JPEG keeps it."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    planes = [127 + 100 * np.sin((seed + 1) * x / 20 + y / (10 + c) + c) for c in range(3)]
    return np.stack(planes, axis=2).astype(np.uint8)


def blocks(size: tuple[int, int], values: list[int], seed: int) -> np.ndarray:
    """A mask of blocks of 8 x 8 pixels with all the values."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(values, (-(-size[0] // 8), -(-size[1] // 8)))
    cells.reshape(-1)[: len(values)] = values[: cells.size]
    return np.kron(cells, np.ones((8, 8))).astype(np.uint8)[: size[0], : size[1]]


def save(path: Path, array: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette([(37 * i) % 256 for i in range(768)])
    image.save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def voc(root: Path) -> dict[str, Any]:
    base = root / "VOC2012"
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = []
    for number, size in enumerate(SIZES):
        name = f"2007_00000{number}"
        names.append(name)
        save(base / "JPEGImages" / f"{name}.jpg", picture(size, number))
        for folder in ("SegmentationClass", "SegmentationClassAug"):
            mask = blocks(size, [0, 1, 15, 20, 255], number)
            save(base / folder / f"{name}.png", mask, palette=True)
    for split in ("train", "val", "trainval", "test", "train_aug"):
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    pairs = [f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png" for n in names]
    (lists / "trainval_aug.txt").write_text("\r\n".join(pairs) + "\r\n\r\n")
    return {"data_dir": str(root)}


def camvid(root: Path) -> dict[str, Any]:
    for split in ("train", "val", "test"):
        for number in range(4):
            save(root / split / f"0001TP_{number}.jpg", picture((48, 64), number))
            mask = blocks((48, 64), list(range(12)), number)
            save(root / f"{split}annot" / f"0001TP_{number}.png", mask)
    return {"data_dir": str(root)}


def shapes(root: Path) -> dict[str, Any]:
    return {"num_images": 4, "image_size": 48}


def carvana(root: Path) -> dict[str, Any]:
    for car in ("00087a6bd4dc", "0495dcf27283", "fff9b3a5373f"):
        for view in (1, 2):
            name = f"{car}_{view:02d}"
            save(root / "train" / f"{name}.jpg", picture((40, 60), view))
            save(root / "test" / f"{name}.jpg", picture((40, 60), view))
            mask = Image.fromarray(blocks((40, 60), [0, 1], view))
            mask.putpalette([0, 0, 0, 255, 255, 255])
            (root / "train_masks").mkdir(exist_ok=True)
            mask.save(root / "train_masks" / f"{name}_mask.gif")
    return {"data_dir": str(root)}


def cityscapes(root: Path) -> dict[str, Any]:
    for split in ("train", "val", "test", "train_extra"):
        for city in ("aachen", "ulm"):
            for number in range(2):
                name = f"{city}_00000{number}_000019"
                save(
                    root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture((32, 64), number)
                )
                mask = blocks((32, 64), [0, 3, 7, 8, 11, 26, 33], number)
                for kind in ("gtFine", "gtCoarse"):
                    folder = root / kind / split / city
                    save(folder / f"{name}_{kind}_labelIds.png", mask)
                    save(folder / f"{name}_{kind}_instanceIds.png", mask)
    return {"data_dir": str(root)}


def ade20k(root: Path) -> dict[str, Any]:
    for split in ("training", "validation"):
        for number in range(4):
            name = f"ADE_{split[:5]}_0000000{number}"
            save(root / "images" / split / f"{name}.jpg", picture((32, 40), number))
            mask = blocks((32, 40), [0, 1, 2, 75, 150], number)
            save(root / "annotations" / split / f"{name}.png", mask)
    return {"data_dir": str(root)}


def coco(root: Path) -> dict[str, Any]:
    for split in ("train2017", "val2017"):
        for number in range(4):
            save(root / "images" / split / f"00000000{number}.jpg", picture((32, 40), number))
            mask = blocks((32, 40), [0, 10, 12, 181, 255], number)
            save(root / "annotations" / split / f"00000000{number}.png", mask)
    return {"data_dir": str(root)}


def clothes(root: Path) -> dict[str, Any]:
    (root / "annotations" / "pixel-level").mkdir(parents=True)
    for number, size in enumerate(SIZES * 2):
        name = f"{number:04d}"
        save(root / "photos" / f"{name}.jpg", picture(size, number))
        if number < 6:  # the others have no labels of pixels
            mask = blocks(size, [0, 1, 41, 58], number)
            savemat(root / "annotations" / "pixel-level" / f"{name}.mat", {"groundtruth": mask})
    return {"data_dir": str(root)}


def sbd(root: Path) -> dict[str, Any]:
    (root / "cls").mkdir()
    names = [f"2008_00000{number}" for number in range(4)]
    for number, name in enumerate(names):
        save(root / "img" / f"{name}.jpg", picture(SIZES[number], number))
        label = {"Segmentation": blocks(SIZES[number], [0, 7, 20], number), "Boundaries": np.zeros((20, 1))}
        savemat(root / "cls" / f"{name}.mat", {"GTcls": label})
    for split in ("train", "val", "train_noval"):
        (root / f"{split}.txt").write_text("\n".join(names))
    return {"data_dir": str(root)}


def deepscene(root: Path) -> dict[str, Any]:
    table = [
        [170, 170, 170],
        [0, 255, 0],
        [102, 102, 51],
        [0, 60, 0],
        [0, 120, 255],
        [0, 0, 0],
        [255, 255, 255],
    ]
    colours = np.array(table, np.uint8)
    for split in ("train", "test"):
        for number, size in enumerate(SIZES):
            name = f"b1-0951{number}"
            save(root / split / "rgb" / f"{name}_Clipped.jpg", picture(size, number))
            save(
                root / split / "GT_color" / f"{name}_mask.png", colours[blocks(size, list(range(7)), number)]
            )
    return {"data_dir": str(root)}


def meter(root: Path) -> dict[str, Any]:
    for split in ("train", "val", "test"):
        for number in range(4):
            save(root / "images" / split / f"{number}.jpg", picture((40, 40), number))
            save(root / "annotations" / split / f"{number}.png", blocks((40, 40), [0, 1, 2], number))
    return {"data_dir": str(root)}


def tianchi(root: Path) -> dict[str, Any]:
    lines = []
    for number in range(5):
        name = f"KWP8J3TRS{number}.jpg"
        save(root / "train" / name, picture((32, 32), number))
        save(root / "test_a" / name, picture((32, 32), number))
        mask = blocks((32, 32), [0, 1], number).astype(int)
        flat = np.concatenate([[0], mask.ravel("F"), [0]])  # down the columns
        starts, stops = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
        runs = " ".join(f"{start + 1} {stop - start}" for start, stop in zip(starts, stops, strict=True))
        lines.append(f"{name}\t{runs if number else ''}\n")
    (root / "train_mask.csv").write_text("".join(lines))
    return {"data_dir": str(root)}


def folder(root: Path) -> dict[str, Any]:
    for number, size in enumerate(SIZES):
        save(root / "imgs" / f"cell {number}.v2.jpg", picture(size, number))
        save(root / "masks" / f"cell {number}.v2_mask.png", blocks(size, [0, 255], number))
    return {
        "data_dir": str(root), "images": "imgs", "mask_suffix": "_mask",
        "classes": ["background", "cell"], "values": {"background": 0, "cell": 255},
    }  # fmt: skip


BUILDERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "ADE20K": ade20k,
    "COCO": coco,
    "Clothes": clothes,
    "DeepScene": deepscene,
    "Meter": meter,
    "SBD": sbd,
    "TianChi": tianchi,
    "VOC": voc,
    "CamVid": camvid,
    "Carvana": carvana,
    "CityScapes": cityscapes,
    "Cityscapes": cityscapes,
    "Folder": folder,
    "Shapes": shapes,
}
