"""The command line that inference.py and vote.py share."""

from __future__ import annotations

import pytest

from utils.errors import SegwrightError
from utils.inference.command import parse_arguments, segment


def test_models_are_not_loaded_before_the_images_are_found(tmp_path):
    def load(args, *, always_ensemble=False):
        pytest.fail("the model was loaded")

    args = parse_arguments(
        ["-m", "x.pth", "-i", str(tmp_path), "-o", str(tmp_path / "out")], "Segment.", "example"
    )
    with pytest.raises(SegwrightError, match=str(tmp_path)):
        segment(args, load)
