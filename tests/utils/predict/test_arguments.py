"""From the command line to the options of a prediction."""

from __future__ import annotations

import argparse

import pytest

from utils.errors import ConfigError
from utils.predict.arguments import add_model_arguments, predict_options
from utils.predict.options import PredictOptions


def options(*words: str) -> PredictOptions:
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    return predict_options(parser.parse_args(["-m", "model.pth", *words]))


@pytest.mark.parametrize(
    ("words", "flip", "tta"),
    [
        ((), None, ("identity", "hflip")),  # a checkpoint of an earlier version
        ((), True, ("identity", "hflip")),
        ((), False, ("identity",)),
        (("--no-flip",), True, ("identity",)),
        (("--mode", "whole"), True, ("identity",)),
        (("--tta", "identity", "rot90"), True, ("identity", "rot90")),
        (("--tta", "identity", "hflip"), False, ("identity", "hflip")),
    ],
)
def test_multiscale_mirrors_if_training_did_unless_told_otherwise(words, flip, tta):
    assert options(*words).for_model(flip=flip).tta == tta


def test_a_window_is_square_or_height_and_width_or_left_to_the_training_crop():
    assert options("--window", "64").window == (64, 64)
    assert options("--window", "64", "96").window == (64, 96)
    assert options().window is None
    assert options().for_model([48, 64]).window == (48, 64)
    assert options().for_model(48).window == (48, 48)
    assert options().for_model(None).window == (512, 512)
    assert options("--window", "64").for_model(48).window == (64, 64)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--window", "1", "2", "3"], "--window: one or two numbers"),
        (["--window", "4"], "--window: .* too small"),
        (["--scales", "0"], "--scales: one or more numbers above 0"),
        (["--tta", "spin"], "--tta: .*spin.*choose from: identity"),
        (["--window-overlap", "1"], "overlap must be in 0..1"),
    ],
)
def test_mistakes_name_the_option(words, message):
    with pytest.raises(ConfigError, match=message):
        options(*words)
