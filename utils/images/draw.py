"""Figures for people: coloured masks, overlays with a legend, grids for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.dataset_info import IGNORE_INDEX, DatasetInfo, colour_table
from utils.images.names import drawable_names

# stand-ins for grey tones: red, blue, green, yellow, purple, orange
_SATURATED = ((230, 25, 75), (0, 130, 200), (60, 180, 75), (255, 225, 25), (145, 30, 180), (245, 130, 48))
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


def colour_mask(mask: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Paint class indices in the data set's colours.

    Args:
        mask: (H, W) uint8, class indices or 255 for void.
        info: the data set.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: ``mask`` is not uint8; a cast could change its classes.
    """
    if mask.dtype != np.uint8:
        raise ValueError(f"a mask of {mask.dtype} cannot be coloured; uint8 is expected")
    coloured: np.ndarray = colour_table(info)[mask]
    return coloured


def blend(image: np.ndarray, mask: np.ndarray, info: DatasetInfo, opacity: float = 0.5) -> np.ndarray:
    """Blend an image with its coloured mask; void pixels show the image alone.

    Where the palette has grey tones only, so does a black first class, and the others get saturated colours.

    Args:
        image: (H, W, C) uint8, RGB or grey.
        mask: (H, W) uint8.
        info: the data set.
        opacity: of the mask, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rgb = to_rgb(image)
    table, clear = _overlay_colours(info)
    mixed = cv2.addWeighted(rgb, 1 - opacity, table[mask], opacity, 0)
    mixed[clear[mask]] = rgb[clear[mask]]
    return mixed


def _overlay_colours(info: DatasetInfo) -> tuple[np.ndarray, np.ndarray]:
    """Return the (256, 3) uint8 colours of an overlay, and which (256,) class indices stay clear."""
    table = colour_table(info).copy()
    clear = np.zeros(256, dtype=bool)
    clear[IGNORE_INDEX] = True
    palette = table[: info.num_classes]
    if (palette == palette[:, :1]).all():  # white or grey over a photo cannot be seen
        clear[0] = not palette[0].any()
        for index in range(int(clear[0]), info.num_classes):
            table[index] = _SATURATED[(index - int(clear[0])) % len(_SATURATED)]
    return table, clear


def overlay(image: np.ndarray, mask: np.ndarray, info: DatasetInfo, opacity: float = 0.5) -> np.ndarray:
    """Blend as :func:`blend`, above a legend that names the classes in the mask, the largest first.

    A name that the font cannot draw is shown as the class index; see :func:`~utils.images.names.drawable_names`.

    Returns:
        (H + legend, max(W, legend), 3) uint8 RGB; the blended image is at the upper left.
    """
    blended = blend(image, mask, info, opacity)
    counts = np.bincount(mask.reshape(-1), minlength=256)
    found = [int(c) for c in np.argsort(-counts, kind="stable") if counts[c]]
    table, _ = _overlay_colours(info)
    names = drawable_names(tuple(info.classes))
    entries = [(names[c] if c < info.num_classes else "void", tuple(table[c].tolist())) for c in found]
    return stack([blended, draw_legend(entries, blended.shape[1])])


def draw_legend(entries: Sequence[tuple[str, tuple[int, int, int]]], width: int) -> np.ndarray:
    """Draw a strip of coloured squares with names, in as many columns as fit.

    Args:
        entries: names and their colours.
        width: width of the strip in pixels; it grows if the longest name needs more.

    Returns:
        (height, width, 3) uint8 RGB.
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
    """Draw image, target and prediction side by side, one row per image.

    Args:
        images: N images (H, W, C) uint8; their sizes may differ.
        targets: N masks (H, W) uint8 of the same sizes, 255 = void.
        predictions: N masks (H, W) uint8. Pixels whose target is void are painted void too, because
            no metric counts them.
        info: the data set.
        height: largest height of a row in pixels; larger images are scaled down.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    rows = []
    for image, target, prediction in zip(images, targets, predictions, strict=True):
        judged = np.where(target == IGNORE_INDEX, np.uint8(IGNORE_INDEX), prediction.astype(np.uint8))
        ratio = min(1.0, height / image.shape[0])
        size = max(1, round(image.shape[1] * ratio)), max(1, round(image.shape[0] * ratio))
        parts = (
            (to_rgb(image), cv2.INTER_AREA),
            (colour_mask(target.astype(np.uint8), info), cv2.INTER_NEAREST),
            (colour_mask(judged, info), cv2.INTER_NEAREST),
        )
        scaled = [cv2.resize(np.ascontiguousarray(part), size, interpolation=kind) for part, kind in parts]
        rows.append(np.concatenate(scaled, axis=1))
    return stack(rows)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Return (H, W, C) as (H, W, 3): grey repeated, or the first three of more channels."""
    return np.repeat(image, 3, axis=2) if image.shape[2] < 3 else np.ascontiguousarray(image[..., :3])


def stack(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Stack images (H, W, 3) vertically, padded with white at the right."""
    width = max(part.shape[1] for part in parts)
    padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=_PAPER[0]) for p in parts]
    return np.concatenate(padded, axis=0)
