"""Facts of a data set: checks, plain form, normalisation, the VOC colour map against the devkit's own table."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from utils.dataset_info import DatasetInfo, colour_table, denormalise, normalise, voc_palette

GREY = ((0, 0, 0), (9, 9, 9))
UNEVEN = DatasetInfo(("a", "b"), GREY, mean=(0.1, 0.5, 0.93, 0.0), std=(0.01, 0.3, 0.225, 1.0))
IMAGENET = DatasetInfo(("a", "b"), GREY)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"classes": (), "palette": ()}, "0 classes; 1 to 255"),
        ({"classes": ("a", "a")}, "same name"),
        ({"palette": ((0, 0, 0),)}, "1 colours for 2 classes"),
        ({"std": (0.2,)}, "same length"),
        ({"std": (0.2, 0.0, 0.2)}, "above 0"),
        ({"label_ids": (7,)}, "1 label ids for 2 classes"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(facts, message):
    with pytest.raises(ValueError, match=message):
        DatasetInfo(**{"classes": ("a", "b"), "palette": GREY, **facts})


def test_facts_survive_json():
    info = DatasetInfo(("a", "b"), GREY, mean=(0.25,), std=(0.5,), label_ids=(0, 200))
    assert DatasetInfo.from_plain(json.loads(json.dumps(info.to_plain()))) == info


def test_padding_has_the_mean_colour_which_is_nearly_0_when_normalised():
    assert UNEVEN.fill_colour == (26, 128, 237, 0) and UNEVEN.in_channels == 4
    padding = torch.tensor(UNEVEN.fill_colour, dtype=torch.uint8).view(1, 1, 4)
    steps = torch.tensor([1 / 255 / std for std in UNEVEN.std])
    assert (normalise(padding, UNEVEN).abs() <= steps / 2).all()  # as near as a byte can be


@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7), (1, 1), (3, 1, 9)])
@pytest.mark.parametrize("info", [UNEVEN, IMAGENET])
def test_normalised_images_have_the_values_of_the_formula(info, shape):
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (*shape, info.in_channels), dtype=np.uint8)
    given = torch.from_numpy(pixels)
    result = normalise(given, info)
    expected = (pixels / 255 - np.array(info.mean)) / np.array(info.std)  # in float64
    assert result.dtype == torch.float32 and result.is_contiguous()
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(given, pixels)


def test_a_view_is_normalised_as_its_copy_and_floats_are_not_changed():
    pixels = torch.arange(120, dtype=torch.float32).view(4, 10, 3)
    window = pixels[1:3, 2:9]
    assert torch.equal(normalise(window, IMAGENET), normalise(window.clone(), IMAGENET))
    assert torch.equal(pixels, torch.arange(120, dtype=torch.float32).view(4, 10, 3))


@pytest.mark.parametrize("info", [UNEVEN, IMAGENET])
def test_denormalised_images_are_the_pixels_they_were(info):
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 256, 1).repeat(2, 1, info.in_channels)
    assert torch.equal(denormalise(normalise(pixels, info), info), pixels)


def test_values_out_of_range_are_clipped():
    values = torch.tensor([[[-1e3, 0.0, 1e3]]])
    assert denormalise(values, IMAGENET).tolist() == [[[0, 116, 255]]]


def test_normalising_in_inference_mode_first_leaves_tensors_that_training_can_use():
    info = DatasetInfo(("a", "b"), GREY, mean=(0.123, 0.5, 0.5))  # of no other test, so nothing is kept yet
    pixels = torch.zeros(2, 2, 3, dtype=torch.uint8)
    with torch.inference_mode():
        normalise(pixels, info)
    weight = torch.ones(3, requires_grad=True)
    (normalise(pixels, info) * weight).sum().backward()
    assert weight.grad is not None


def test_voc_palette_is_the_devkit_one():
    table = np.array(voc_palette(256), dtype=np.uint8)
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    assert digest == "ec76f86cfddd0f4c0768796cda862d8f5099af416b298a406db7e84b55136fc9"
    assert voc_palette(21)[15] == (192, 128, 128) and voc_palette(256)[255] == (224, 224, 192)


def test_too_many_colours_are_refused():
    with pytest.raises(ValueError, match="257"):
        voc_palette(257)


def test_colour_table_takes_the_data_set_and_marks_void():
    info = DatasetInfo(("a", "b"), ((1, 2, 3), (4, 5, 6)))
    table = colour_table(info)
    assert table[:2].tolist() == [[1, 2, 3], [4, 5, 6]] and table[255].tolist() == [224, 224, 192]
    assert table.shape == (256, 3) and info.palette == ((1, 2, 3), (4, 5, 6))
