"""The drawing of the package's data flow names existing code, in the order in which it is called."""

from __future__ import annotations

import importlib
import re
import sys
from functools import reduce

import numpy as np
import pytest
from torch import nn

import utils.predict
from base.base_model import BaseModel
from utils.dataset_info import DatasetInfo
from utils.predict.options import PredictOptions
from utils.predict.predictor import Predictor

NAMES = re.findall(r"\b([a-z_]+)\.((?:\w+\.)?\w+)", utils.predict.__doc__ or "")


class Net(BaseModel):
    stride = 8

    def __init__(self) -> None:
        super().__init__(2)
        self.head = nn.Conv2d(3, 2, 8, stride=8)

    def _forward(self, images):
        return self.head(images)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_name_of_the_drawing_exists(module, name):
    found = importlib.import_module(f"utils.predict.{module}")
    assert callable(reduce(getattr, name.split("."), found))


def test_the_drawing_is_in_the_order_of_first_calls():
    info = DatasetInfo(("a", "b"), ((0, 0, 0), (9, 9, 9)))
    options = PredictOptions(mode="multiscale", scales=(0.5, 1.0), tta=("identity", "hflip"))
    predictor = Predictor(Net(), info, options=options)
    calls: list[str] = []

    def watch(frame, event, _):
        name = frame.f_code.co_name
        owner = type(frame.f_locals["self"]).__name__ if "self" in frame.f_locals else ""
        module = frame.f_globals.get("__name__", "").removeprefix("utils.predict.")
        full = f"{module}.{owner}.{name}".replace("..", ".").removesuffix(".__init__")
        if event == "call" and full not in calls:
            calls.append(full)

    sys.setprofile(watch)
    try:
        predictor.predict(np.zeros((40, 40, 3), np.uint8))
    finally:
        sys.setprofile(None)
    drawn = [f"{module}.{name}" for module, name in NAMES]
    assert set(drawn) <= set(calls)
    chain = [
        "windows.plan_axis", "predictor.Predictor._strip", "options.Symmetry.apply",
        "predictor.Predictor._forward", "window_logits.WindowLogits", "window_logits.add_windows",
        "scores.argmax_classes",
    ]  # fmt: skip
    assert [name for name in calls if name in chain] == chain
    assert [name for name in drawn if name in chain] == chain
