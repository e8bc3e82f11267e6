"""Logits of windows on the result: symmetries undone, interpolation as torch's, tiles without seams."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import utils.predict.window_logits as window_logits
from utils.predict.options import SYMMETRIES
from utils.predict.window_logits import WindowLogits, add_windows
from utils.predict.windows import plan_axis


def place(logits: torch.Tensor, height: int, width: int, symmetry: str = "identity") -> WindowLogits:
    """Logits of a window that covers the result."""
    (row,), (column,) = plan_axis(height, 1.0, None, 1), plan_axis(width, 1.0, None, 1)
    padded = (width, height) if SYMMETRIES[symmetry].transpose else (height, width)
    return WindowLogits(logits, row, column, padded, SYMMETRIES[symmetry], 1.0)


def logits_of(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_logits_of_a_transformed_window_return_to_their_pixels(symmetry):
    image = logits_of(3, 5, 7)
    seen = SYMMETRIES[symmetry].apply(image[None])[0]
    window = place(seen, 5, 7, symmetry)
    restored = window.interpolate(window.row_interpolator(0, 5), 0, 7)
    torch.testing.assert_close(restored, image.permute(1, 2, 0), atol=0, rtol=0)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_coarse_logits_are_interpolated_as_torch_does(symmetry):
    coarse = logits_of(4, 3, 5)
    fine = F.interpolate(coarse[None].double(), size=(24, 40), mode="bilinear", align_corners=False)[0]
    window = place(SYMMETRIES[symmetry].apply(coarse[None])[0], 24, 40, symmetry)
    for top, stop, left, right in ((0, 24, 0, 40), (5, 9, 7, 31), (23, 24, 39, 40)):
        part = window.interpolate(window.row_interpolator(top, stop), left, right)
        expected = fine[:, top:stop, left:right].permute(1, 2, 0)
        torch.testing.assert_close(part.double(), expected, atol=1e-6, rtol=0)


def test_padding_is_cropped():
    """Logits of a window of 10x13 pixels that a network padded to 16x16."""
    coarse = logits_of(2, 4, 4)
    fine = F.interpolate(coarse[None], size=(16, 16), mode="bilinear", align_corners=False)[0, :, :10, :13]
    (row,), (column,) = plan_axis(10, 1.0, None, 1), plan_axis(13, 1.0, None, 1)
    window = WindowLogits(coarse, row, column, (16, 16), SYMMETRIES["identity"], 1.0)
    found = window.interpolate(window.row_interpolator(0, 10), 0, 13)
    torch.testing.assert_close(found, fine.permute(1, 2, 0), atol=1e-6, rtol=0)


def test_interpolated_logits_are_a_copy():
    window = place(logits_of(3, 5, 7), 5, 7)
    window.interpolate(window.row_interpolator(0, 5), 0, 7).zero_()
    assert window.logits.any()


@pytest.mark.parametrize("spread", [1.0, 200.0])
@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_do_not_change_the_sum_of_windows(monkeypatch, spread, threads):
    windows = [place(logits_of(4, 6, 9) * spread, 48, 90), place(logits_of(4, 48, 90), 48, 90, "hflip")]
    untiled = torch.full((48, 90, 4), 7.0)
    add_windows(untiled, 0, windows, clear=True)
    monkeypatch.setattr(window_logits, "CPU_TILE", 300)
    monkeypatch.setattr(window_logits, "CPU_ROWS", 5)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        tiled = torch.full((48, 90, 4), 7.0)
        add_windows(tiled, 0, windows, clear=True)
        part = torch.zeros(10, 90, 4)
        add_windows(part, 20, windows)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(tiled, untiled, atol=1e-6, rtol=0)
    torch.testing.assert_close(part, untiled[20:30], atol=1e-6, rtol=0)
    torch.testing.assert_close(untiled.sum(-1), torch.full((48, 90), 2.0), atol=1e-5, rtol=0)


def test_coarse_means_a_quarter_of_the_pixels():
    assert place(logits_of(2, 8, 8), 16, 16).is_coarse
    assert not place(logits_of(2, 9, 8), 16, 16).is_coarse
