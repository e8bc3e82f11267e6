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
        image = Image.fromarray(array).convert("P")
        image.putpalette([(37 * i) % 256 for i in range(768)])
        image = Image.fromarray(array)
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


BUILDERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "VOC": voc,
    "CamVid": camvid,
    "Shapes": shapes,
}
