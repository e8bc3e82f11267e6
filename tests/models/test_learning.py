"""Every registered model starts in sane bounds, and learns at the learning rate of docs/models.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.models.catalogue import each_model, registered, smallest
from tests.models.learning import CLASSES, drawn_for, gradient_norm, loss_of, train

PAGE = Path(__file__).resolve().parents[2] / "docs/models.md"
# 10 to 40 seconds each; benchmarks/learn.py trains them, and every other model at its default settings
IN_BENCHMARKS = {"DeepLab_DUC_HDC", "FCN16s", "FCN32s", "SegNet", "SegResNet"}
ARGUMENTS = {"UNet": {"base_channels": 16}}


def rates() -> dict[str, float]:
    """Return the table of learning rates in docs/models.md."""
    section = PAGE.read_text(encoding="utf-8").partition("## Learning rates")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \|$", section, re.MULTILINE)
    return {name: float(rate) for names, rate in rows for name in names.replace("`", "").split(", ")}


def test_the_table_of_learning_rates_names_models():
    assert {"all others"} < rates().keys() <= {"all others", *registered()}


@pytest.mark.slow
@pytest.mark.parametrize("name", each_model())
def test_a_start_in_sane_bounds(name):
    """Neither the first step scatters the weights, nor do activations grow from layer to layer."""
    torch.manual_seed(0)
    model = smallest(name, CLASSES, full_depth=True).train()
    spreads = {}

    def note(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            spreads[names[module]] = output.detach().square().mean().sqrt().item()

    names = {module: path for path, module in model.named_modules() if not list(module.children())}
    for module in names:
        module.register_forward_hook(note)
    images, targets = drawn_for(model)
    loss = loss_of(model, images[:2], targets[:2])
    loss.backward()
    assert loss.isfinite()
    assert gradient_norm(model) <= 100
    assert spreads
    assert {path: spread for path, spread in spreads.items() if not spread < 30} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", each_model(less=IN_BENCHMARKS))
def test_the_loss_is_halved_within_40_steps(name):
    torch.manual_seed(0)
    model = smallest(name, CLASSES, full_depth=True, **ARGUMENTS.get(name, {}))
    documented = rates()
    trace = train(model, documented.get(name, documented["all others"]))
    assert trace.halved, trace.losses
