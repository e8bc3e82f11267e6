"""Settings of the process that trains."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.utils.losses.test_build import EXPERIMENT
from utils.errors import ConfigError
from utils.training.process import any_image_size, prepare_process, versions

QUIET = replace(EXPERIMENT, tune_allocator=False, n_gpu=0)


@pytest.fixture(autouse=True)
def settings_are_given_back():
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    yield
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.deterministic = False
    torch.use_deterministic_algorithms(False)


def test_threads_seed_and_layout_follow_the_config():
    process = prepare_process(replace(QUIET, num_threads=1, seed=5, precision="fp32"), "cpu")
    assert torch.get_num_threads() == 1
    assert process.device == torch.device("cpu") and process.layout is torch.channels_last
    assert process.precision.name == "fp32"
    first = torch.rand(1)
    prepare_process(replace(QUIET, seed=5), "cpu")
    assert torch.equal(first, torch.rand(1))
    plain = prepare_process(replace(QUIET, channels_last=False), "cpu")
    assert plain.layout is torch.contiguous_format


def test_deterministic_mode_refuses_operations_that_vary(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    prepare_process(replace(QUIET, deterministic=True), "cpu")
    assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.deterministic


def test_a_precision_that_the_device_lacks_is_refused():
    with pytest.raises(ConfigError, match="precision: fp16 is for GPUs"):
        prepare_process(replace(QUIET, precision="fp16"), "cpu")


def test_the_search_for_kernels_is_off_while_sizes_vary():
    torch.backends.cudnn.benchmark = True
    with any_image_size():
        assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark


def test_versions_are_plain_text():
    assert versions()["torch"] == str(torch.__version__) and type(versions()["torch"]) is str
