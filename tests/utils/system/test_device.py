"""Choice of devices, on machines with any number of GPUs."""

from __future__ import annotations

import logging

import pytest
import torch

from utils.errors import ConfigError
from utils.system.device import resolve_device, resolve_devices


@pytest.fixture(params=[0, 2])
def gpus(request, monkeypatch) -> int:
    """Number of GPUs that torch reports."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return request.param


@pytest.mark.parametrize("gpus", [2], indirect=True)
@pytest.mark.parametrize(
    ("name", "n_gpu", "expected"),
    [
        (None, 0, ["cpu"]),
        (None, 1, ["cuda:0"]),
        (None, 2, ["cuda:0", "cuda:1"]),
        ("cpu", 2, ["cpu"]),
        ("cuda", 1, ["cuda:0"]),
        ("cuda", 0, ["cuda:0"]),
        ("cuda", 2, ["cuda:0", "cuda:1"]),
        ("cuda:1", 1, ["cuda:1"]),
        ("1", 2, ["cuda:1"]),
        ("1,0", 1, ["cuda:1", "cuda:0"]),
    ],
)
def test_the_command_line_comes_before_the_config(gpus, name, n_gpu, expected):
    assert [str(device) for device in resolve_devices(name, n_gpu)] == expected


@pytest.mark.parametrize(
    ("gpus", "n_gpu", "expected", "words"),
    [
        (0, 1, ["cpu"], "has 0: running on the CPU"),
        (2, 4, ["cuda:0", "cuda:1"], "has 2: running on 2 GPU(s)"),
    ],
    indirect=["gpus"],
)
def test_fewer_gpus_than_the_config_names_are_used_and_logged(gpus, n_gpu, expected, words, caplog):
    with caplog.at_level(logging.INFO):
        assert [str(device) for device in resolve_devices(None, n_gpu)] == expected
    assert f"n_gpu is {n_gpu}; this machine {words}" in caplog.text


def test_a_gpu_that_the_machine_lacks_is_refused(gpus):
    with pytest.raises(ConfigError, match=rf"--device {gpus}: no GPU {gpus}; this machine has {gpus}"):
        resolve_devices(str(gpus), 1)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "0;1", ""])
def test_other_names_list_the_forms(gpus, name):
    with pytest.raises(ConfigError, match=f"--device {name}: expected cpu, cuda, cuda:N, or N,M,..."):
        resolve_devices(name, 1)


def test_a_single_device_is_the_first(gpus):
    assert str(resolve_device()) == ("cuda:0" if gpus else "cpu")
    assert str(resolve_device("cpu")) == "cpu"
