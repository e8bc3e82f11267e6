"""Pictures for people: coloured masks, overlays with a legend, grids for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.dataset_info import IGNORE_INDEX, DatasetInfo, colour_table

_PAPER, _INK = (255, 255, 255), (20, 20, 20)


def colour_mask(mask: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Paint class indices in the data set's colours.

    Args:
        mask: (H, W) uint8, class indices or 255 for void.
        info: the data set.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: ``mask`` is not of 8 bits; casting it would paint other classes.
    """
    if mask.dtype != np.uint8:
        raise ValueError(f"a mask of {mask.dtype} cannot be coloured; uint8 is expected")
    return colour_table(info)[mask]


def blend(image: np.ndarray, mask: np.ndarray, info: DatasetInfo, opacity: float = 0.5) -> np.ndarray:
    """Lay a coloured mask over its image; void stays clear.

    Args:
        image: (H, W, C) uint8, RGB or grey.
        mask: (H, W) uint8.
        info: the data set.
        opacity: of the mask, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture = to_rgb(image)
    colours = colour_mask(mask, info)
    mixed = cv2.addWeighted(picture, 1 - opacity, colours, opacity, 0)
    mixed[mask == IGNORE_INDEX] = picture[mask == IGNORE_INDEX]
    return mixed


def overlay(image: np.ndarray, mask: np.ndarray, info: DatasetInfo, opacity: float = 0.5) -> np.ndarray:
    """:func:`blend` with a legend under it that names the classes in the mask, the largest first.

    Returns:
        (H + legend, max(W, legend), 3) uint8 RGB; the picture is at the upper left.
    """
    picture = blend(image, mask, info, opacity)
    counts = np.bincount(mask.reshape(-1), minlength=256)
    found = [int(c) for c in np.argsort(-counts, kind="stable") if counts[c]]
    entries = [
        (info.classes[c] if c < info.num_classes else "void", tuple(colour_table(info)[c].tolist()))
        for c in found
    ]
    return _stack([picture, draw_legend(entries, picture.shape[1])])


def draw_legend(entries: Sequence[tuple[str, tuple[int, int, int]]], width: int) -> np.ndarray:
    """A strip of coloured squares with names, in as many columns as fit.

    Args:
        entries: names and their colours.
        width: of the strip in pixels; a narrow one grows to hold its longest name.

    Returns:
        (height, width, 3) uint8.
    """
    size = int(np.clip(width / 45, 11, 32))
    font = ImageFont.load_default(size)
    cell = max((int(font.getlength(name)) for name, _ in entries), default=0) + 3 * size
    columns = max(1, width // cell)
    line = size + size // 2
    rows = -(-len(entries) // columns)
    strip = Image.new("RGB", (max(width, cell), rows * line + size // 2), _PAPER)
    draw = ImageDraw.Draw(strip)
    for number, (name, colour) in enumerate(entries):
        x, y = number % columns * cell + size // 2, number // columns * line + size // 2
        draw.rectangle((x, y, x + size, y + size), fill=colour, outline=_INK)
        draw.text((x + size + size // 2, y), name, fill=_INK, font=font)
    return np.array(strip)


def prediction_grid(
    images: np.ndarray | Sequence[np.ndarray],
    targets: np.ndarray | Sequence[np.ndarray],
    predictions: np.ndarray | Sequence[np.ndarray],
    info: DatasetInfo,
    height: int = 256,
) -> np.ndarray:
    """Image, target and prediction side by side, a row per image.

    Args:
        images: N images (H, W, C) uint8; their sizes may differ.
        targets: N masks (H, W) uint8 of the same sizes, 255 = void.
        predictions: N masks (H, W) uint8. Where the target is void they are painted void too, so
            that what no metric counts does not draw the eye.
        info: the data set.
        height: rows are scaled down to this many pixels.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    rows = []
    for image, target, prediction in zip(images, targets, predictions, strict=True):
        judged = np.where(target == IGNORE_INDEX, np.uint8(IGNORE_INDEX), prediction.astype(np.uint8))
        parts = (to_rgb(image), colour_mask(target.astype(np.uint8), info), colour_mask(judged, info))
        shape = image.shape[:2]
        ratio = min(1.0, height / shape[0])
        size = max(1, round(shape[1] * ratio)), max(1, round(shape[0] * ratio))
        kinds = (cv2.INTER_AREA, cv2.INTER_NEAREST, cv2.INTER_NEAREST)
        scaled = [
            cv2.resize(np.ascontiguousarray(part), size, interpolation=kind)
            for part, kind in zip(parts, kinds, strict=True)
        ]
        rows.append(np.concatenate(scaled, axis=1))
    return _stack(rows)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, C) as (H, W, 3): grey repeated, of more than three channels the first three."""
    return np.repeat(image, 3, axis=2) if image.shape[2] < 3 else np.ascontiguousarray(image[..., :3])


def _stack(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures under each other, filled up with white at the right."""
    width = max(part.shape[1] for part in parts)
    padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=_PAPER[0]) for p in parts]
    return np.concatenate(padded, axis=0)
