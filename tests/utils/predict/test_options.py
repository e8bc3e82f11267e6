"""Symmetries against numpy's; options in and out of range."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from utils.predict.options import DEFAULT_WINDOW, SYMMETRIES, PredictOptions

NUMPY = {
    "identity": lambda a: a,
    "hflip": np.fliplr,
    "vflip": np.flipud,
    "rot90": np.rot90,
    "rot180": lambda a: np.rot90(a, 2),
    "rot270": lambda a: np.rot90(a, 3),
    "transpose": np.transpose,
}


@pytest.mark.parametrize("name", SYMMETRIES)
def test_symmetries_are_those_of_numpy(name):
    image = np.arange(35).reshape(5, 7)
    turned = SYMMETRIES[name].apply(torch.from_numpy(image)[None, None])[0, 0].numpy()
    assert np.array_equal(turned, NUMPY[name](image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "slide"}, "mode"), ({"scales": ()}, "scales"), ({"scales": (0.0,)}, "scales"),
        ({"tta": ("mirror",)}, "hflip"), ({"tta": ()}, "tta"), ({"window": (4, 4)}, "window"),
        ({"overlap": 1.0}, "overlap"), ({"window_batch": 0}, "window_batch"), ({"margin": -1}, "margin"),
        ({"max_whole_pixels": 0}, "max_whole_pixels"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        PredictOptions(**options)


def test_a_window_that_is_not_given_is_the_training_crop():
    assert PredictOptions(window=(40, 48)).for_model(64).window == (40, 48)
    assert PredictOptions().for_model(64).window == (64, 64)
    assert PredictOptions().for_model([48, 64]).window == (48, 64)
    assert PredictOptions().for_model().window == (DEFAULT_WINDOW, DEFAULT_WINDOW)
