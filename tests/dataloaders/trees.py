"""Small data sets in their official layout, drawn on the spot: one builder per registered name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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


def folder(root: Path) -> dict[str, Any]:
    for number, size in enumerate(SIZES):
        save(root / "imgs" / f"cell {number}.v2.jpg", picture(size, number))
        save(root / "masks" / f"cell {number}.v2_mask.png", blocks(size, [0, 255], number))
    return {
        "data_dir": str(root), "images": "imgs", "mask_suffix": "_mask",
        "classes": ["background", "cell"], "values": {"background": 0, "cell": 255},
    }  # fmt: skip


BUILDERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "VOC": voc,
    "CamVid": camvid,
    "Carvana": carvana,
    "CityScapes": cityscapes,
    "Cityscapes": cityscapes,
    "Folder": folder,
    "Shapes": shapes,
}
