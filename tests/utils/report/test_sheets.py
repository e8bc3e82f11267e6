"""Sheets of images: which images are kept, where they are drawn, and what batches look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.parts import RandomBatches
from utils.data.batch import DeviceBatch
from utils.dataset_info import DatasetInfo, voc_palette
from utils.images.draw import prediction_grid
from utils.report.sheets import ExtremeImages, PredictionPanel, contact_sheet, draw_batches

INFO = DatasetInfo(("a", "b", "c"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))


def offer(sheet: ExtremeImages, scores: list[float]) -> None:
    """Offer images of 10x10 pixels whose value is 20 times their number."""
    for number, score in enumerate(scores):
        mask = np.zeros((10, 10), np.uint8)
        sheet.add(score, f"i{number}", np.full((10, 10, 3), 20 * number, np.uint8), mask, mask)


def drawn(sheet: ExtremeImages, count: int) -> list[int]:
    """The numbers of the images on a sheet: a heading of 28 pixels, then lines of 24 over rows of 10."""
    figure = sheet.draw()
    assert figure is not None and figure.dtype == np.uint8 and figure.shape[1] == 240
    rows = [figure[28 + 34 * row + 24 : 28 + 34 * (row + 1), :10] for row in range(count)]
    assert all(row.min() == row.max() for row in rows)
    return [int(row[0, 0, 0]) // 20 for row in rows]


@pytest.mark.parametrize(("worst", "kept"), [(True, [1, 4]), (False, [3, 0])])
def test_the_most_extreme_images_are_kept_in_order(worst, kept):
    sheet = ExtremeImages(INFO, worst=worst, limit=2)
    assert sheet.draw() is None
    offer(sheet, [0.5, 0.1, float("nan"), 0.9, 0.3])
    assert drawn(sheet, 2) == kept


def test_of_equal_scores_the_first_images_are_kept():
    sheet = ExtremeImages(INFO, worst=True, limit=2)
    offer(sheet, [0.5, 0.5, 0.5, 0.5])
    assert drawn(sheet, 2) == [0, 1]


def test_a_contact_sheet_has_rows_of_columns_and_a_legend_of_the_classes_that_occur():
    images = [np.full((20, 30, 3), 10 * number, np.uint8) for number in range(3)]
    masks = [np.full((20, 30), 1, np.uint8) for _ in images]
    sheet = contact_sheet(images, masks, ["x", "y", "z"], INFO, columns=2, height=40)
    cell_height, cell_width = 40 + 20 + 6, 2 * 60 + 6
    assert sheet.shape[1] == 2 * cell_width
    assert [sheet[20, 30].tolist(), sheet[20, cell_width + 30].tolist()] == [[0] * 3, [10] * 3]
    assert (sheet[cell_height + 20, 30] == 20).all() and (
        sheet[cell_height + 20, cell_width + 30] == 255
    ).all()
    colours = {tuple(pixel) for pixel in sheet[2 * cell_height :].reshape(-1, 3).tolist()}
    assert INFO.palette[1] in colours and INFO.palette[2] not in colours


def test_images_of_different_sizes_are_padded_with_white():
    images = [np.zeros((20, size, 3), np.uint8) for size in (10, 40)]
    masks = [np.full(image.shape[:2], 255, np.uint8) for image in images]
    sheet = contact_sheet(images, masks, ["x", "y"], INFO, columns=1, height=20)
    assert (sheet[10, :20] == 0).all() and (sheet[10, 20:] == 255).all()


def test_a_panel_keeps_the_first_images_and_undoes_their_normalisation():
    info = DatasetInfo(tuple("abcde"), tuple(voc_palette(5)))
    panel, draw = PredictionPanel(info, limit=3), np.random.default_rng(0)
    images = draw.integers(0, 256, (4, 8, 12, 3), dtype=np.uint8)
    targets, predictions = draw.integers(0, 5, (2, 4, 8, 12))
    normalised = (torch.from_numpy(images) / 255 - torch.tensor(info.mean)) / torch.tensor(info.std)
    for part in (slice(0, 2), slice(2, 4)):
        batch = DeviceBatch(normalised[part].permute(0, 3, 1, 2), torch.from_numpy(targets[part]), ("x", "y"))
        panel.add(batch, torch.from_numpy(predictions[part]))
    expected = prediction_grid(images[:3], targets[:3], predictions[:3], info)
    assert np.array_equal(panel.draw(), expected)


@pytest.mark.slow
def test_batches_of_an_epoch_are_drawn_into_a_new_folder(tmp_path: Path):
    path, loader = tmp_path / "new" / "batch.png", RandomBatches(3)
    assert draw_batches(loader, path, epoch=4, batches=2, columns=4) == 4
    assert loader.epoch == 4
    first = next(iter(loader)).images[0].numpy()
    with Image.open(path) as figure:
        drawn = np.array(figure)
    height = drawn.shape[0]
    assert drawn.shape[1] >= 4 * 2 * 256 and height < 2 * 256
    assert abs(drawn[:256, :256].astype(float).mean() - first.mean()) < 2  # the first image, enlarged
