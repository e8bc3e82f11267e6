"""The generated reference page: equal to the one in docs/, and complete."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from dataloaders.build import DATA_SETS
from models.build import MODELS
from tests.conftest import ROOT
from tools.config_docs import make_page
from utils.config.parse import is_key
from utils.config.reference import describe_arguments
from utils.config.sections import (
    Experiment,
    OptimizerSection,
    SchedulerSection,
    TeacherSection,
    TrainerSection,
)
from utils.losses.build import LOSSES

PAGE = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")


def test_the_page_in_docs_is_the_generated_one():
    assert make_page() == PAGE, "run: python -m tools.config_docs --write"


@pytest.mark.parametrize(
    "section", [Experiment, TrainerSection, OptimizerSection, SchedulerSection, TeacherSection]
)
def test_every_key_of_a_section_is_described(section):
    words = describe_arguments(section)
    for key in dataclasses.fields(section):
        if is_key(key):
            assert words.get(key.name), key.name
            assert f"| `{key.name}` |" in PAGE


@pytest.mark.parametrize("catalogue", [MODELS, DATA_SETS, LOSSES], ids=lambda c: c.word)
def test_every_argument_of_every_class_is_described(catalogue):
    for name, cls in catalogue.classes().items():
        words = describe_arguments(cls)
        dataset = getattr(cls, "dataset_class", None)
        if dataset is not None:
            from utils.augment.transform import SampleTransform

            words |= describe_arguments(dataset) | describe_arguments(SampleTransform)
        for parameter in inspect.signature(cls).parameters:
            if parameter not in catalogue.context:
                assert words.get(parameter), f"{name}: {parameter}"
                assert f"| `{parameter}` |" in PAGE
