"""Behaviour on a GPU: the upload stream, fp16 with a scaler, DataParallel. Skipped without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.parts import INFO, RandomBatches, TinyNet, make_trainer
from utils.data.prefetch import Prefetcher
from utils.evaluation.metrics import ConfusionMatrix
from utils.predict.options import PredictOptions
from utils.predict.predictor import Predictor
from utils.run.checkpoint import load_checkpoint
from utils.system.precision import Precision, resolve_precision
from utils.training.dry_run import dry_run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GPU = torch.device("cuda", 0)


def test_prefetching_on_a_side_stream_yields_what_the_cpu_yields():
    here = list(Prefetcher(RandomBatches(8, size=64), torch.device("cpu"), INFO))
    there = []
    for batch in Prefetcher(RandomBatches(8, size=64), GPU, INFO):
        torch.cuda._sleep(10**6)  # the model is slower than the upload
        there.append((batch.images.clone(), batch.target.clone()))
    assert len(here) == len(there)
    for ours, (images, target) in zip(here, there, strict=True):
        torch.testing.assert_close(images.cpu(), ours.images)
        assert torch.equal(target.cpu(), ours.target)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_trains_resumes_and_loads_on_the_cpu(tmp_path, precision):
    trainer = make_trainer(tmp_path / "run", device=GPU, precision=precision)
    trainer.train()
    assert trainer.monitor.best is not None
    saved = load_checkpoint(trainer.run.last)
    TinyNet(3).load_state_dict(saved["model"])
    resumed = make_trainer(trainer.run.path, device=GPU, precision=precision, epochs=4)
    resumed.load_state_dict(saved)
    resumed.train()
    assert resumed.epoch == 5


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_dry_run_measures_the_gpus_memory_and_leaves_no_trace(tmp_path, caplog, precision):
    class Batches(RandomBatches):
        def largest_batch(self):
            return next(iter(RandomBatches(1, size=32)))

    options = {"accumulate_steps": 2, "clip_grad_norm": 1.0, "ema_decay": 0.9, "precision": precision}
    trainer = make_trainer(tmp_path / "run", device=GPU, val_loader=Batches(2), **options)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    random_state = torch.cuda.get_rng_state(GPU)
    with caplog.at_level("INFO"):
        dry_run(trainer)
    assert "GiB on cuda:0" in caplog.text
    assert all(torch.equal(before[name], value) for name, value in trainer.model.state_dict().items())
    assert torch.equal(random_state, torch.cuda.get_rng_state(GPU))
    assert trainer.stepper.steps == 0 and not trainer.stepper.optimizer.state_dict()["state"]


def test_pinned_batches_are_the_same_batches():
    (batch,) = RandomBatches(1)
    pinned = batch.pin_memory()
    assert pinned.images.is_pinned() and pinned.target.is_pinned()
    assert torch.equal(pinned.images, batch.images) and pinned.image_ids == batch.image_ids


def test_confusion_matrix_equals_the_cpus():
    draw = torch.Generator().manual_seed(0)
    prediction, target = torch.randint(0, 5, (2, 4, 64, 64), generator=draw)
    target[0, :9] = 255
    ours, theirs = ConfusionMatrix(5), ConfusionMatrix(5, GPU)
    ours.update(prediction, target)
    theirs.update(prediction.to(GPU), target.to(GPU))
    assert torch.equal(ours.matrix, theirs.matrix)


def test_data_parallel_leaves_no_prefix(tmp_path):
    trainer = make_trainer(tmp_path / "run", device=GPU)
    trainer.forward = nn.DataParallel(trainer.model, [0])
    trainer.train()
    assert load_checkpoint(trainer.run.last)["model"].keys() == TinyNet(3).state_dict().keys()


def test_auto_precision_is_never_fp32():
    assert resolve_precision("auto", GPU) in (Precision("bf16", "cuda"), Precision("fp16", "cuda"))


@pytest.mark.parametrize("mode", ["whole", "sliding", "multiscale"])
def test_predictions_equal_the_cpus(mode):
    image = np.random.default_rng(0).integers(0, 256, (97, 130, 3), dtype=np.uint8)
    options = PredictOptions(mode=mode, tta=("identity", "hflip", "rot90"), window=(64, 48))
    torch.manual_seed(0)
    net = TinyNet(3)
    here = Predictor(net, INFO, options=options).probabilities(image)
    there = Predictor(net, INFO, GPU, options=options).probabilities(image)
    np.testing.assert_allclose(there, here, atol=1e-3)  # TF32 convolutions
