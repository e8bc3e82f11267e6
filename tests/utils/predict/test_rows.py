"""Rows leave complete, in order and once, whether logits are kept or added to a buffer."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from utils.predict.options import SYMMETRIES
from utils.predict.rows import BAND_ROWS, RowAccumulator, logit_bands
from utils.predict.window_logits import WindowLogits
from utils.predict.windows import plan_axis

HEIGHT, WIDTH, CLASSES = 150, 40, 3
CPU = torch.device("cpu")
ROWS, COLUMNS = plan_axis(HEIGHT, 1.0, 32, 20), plan_axis(WIDTH, 1.0, 24, 16)


def windows() -> list[WindowLogits]:
    """Cut one field of logits into overlapping windows, so that their blend is its softmax."""
    return [
        WindowLogits(
            FIELD[:, row.start : row.start + row.size, column.start : column.start + column.size],
            row, column, (row.size, column.size), SYMMETRIES["identity"], 1.0,
        )
        for row, column in product(ROWS, COLUMNS)
    ]  # fmt: skip


FIELD = torch.randn(CLASSES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("keep", ["all", "none", "every second"])
def test_overlapping_windows_blend_to_the_softmax_of_their_logits(keep):
    result = RowAccumulator(HEIGHT, WIDTH, CLASSES, 32, CPU)
    bands = []
    for number, window in enumerate(windows()):
        bands += [(top, scores.clone()) for top, scores in result.complete(window.rows.first)]
        assert result.next_row == window.rows.first
        result.add(window, keep=keep == "all" or (keep == "every second" and number % 2 == 0))
    bands += [(top, scores.clone()) for top, scores in result.complete(HEIGHT)]
    tops = [top for top, _ in bands]
    assert tops == sorted(set(tops)) and max(len(scores) for _, scores in bands) <= BAND_ROWS
    found = torch.cat([scores for _, scores in bands])
    torch.testing.assert_close(found, FIELD.softmax(0).permute(1, 2, 0), atol=1e-6, rtol=0)


def test_logits_of_a_single_window_leave_in_bands_without_softmax():
    (row,), (column,) = plan_axis(HEIGHT, 1.0, None, 1), plan_axis(WIDTH, 1.0, None, 1)
    window = WindowLogits(FIELD, row, column, (HEIGHT, WIDTH), SYMMETRIES["identity"], 1.0)
    bands = list(logit_bands(window))
    assert [band.top for band in bands] == list(range(0, HEIGHT, BAND_ROWS))
    assert torch.equal(torch.cat([band.scores for band in bands]), FIELD.permute(1, 2, 0))
