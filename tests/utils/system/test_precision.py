"""Arithmetic of a run."""

from __future__ import annotations

import logging

import pytest
import torch

from utils.errors import ConfigError
from utils.system import precision
from utils.system.precision import Precision, has_bf16, resolve_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "bf16", "expected"),
    [(CPU, True, "bf16"), (CPU, False, "fp32"), (GPU, True, "bf16"), (GPU, False, "fp16")],
)
def test_auto_is_the_fastest_that_the_hardware_computes(monkeypatch, device, bf16, expected):
    monkeypatch.setattr(precision, "has_bf16", lambda device: bf16)
    assert resolve_precision("auto", device) == Precision(expected, device.type)


def test_half_precision_of_gpus_is_refused_on_a_cpu():
    with pytest.raises(ConfigError, match="precision: fp16 is for GPUs; on a CPU use bf16, fp32 or auto"):
        resolve_precision("fp16", CPU)


def test_emulated_bf16_is_used_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    with caplog.at_level(logging.WARNING):
        assert resolve_precision("bf16", CPU).name == "bf16"
    assert "emulated" in caplog.text


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_have_bf16_from_ampere_on(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_bf16(GPU) is expected


@pytest.mark.parametrize("name", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_cpus_have_bf16_by_either_instruction_set(monkeypatch, name):
    for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, check, lambda answer=check == name: answer, raising=False)
    assert has_bf16(CPU)
    monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert not has_bf16(CPU)


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_have_the_type_and_weights_keep_theirs(name, dtype):
    chosen = Precision(name, "cpu")
    layer = torch.nn.Linear(3, 2)
    with chosen.autocast():
        result = layer(torch.ones(1, 3))
    assert result.dtype == dtype == chosen.dtype and layer.weight.dtype == torch.float32


def test_only_fp16_scales_the_loss():
    assert [Precision(name, "cpu").make_scaler().is_enabled() for name in ("fp32", "bf16", "fp16")] == [
        False, False, True,
    ]  # fmt: skip
    loss = torch.tensor(3.0)
    assert Precision("bf16", "cpu").make_scaler().scale(loss) is loss
