"""Loading trained models from Python."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from models.trained import load_predictor, load_weights, model_from_checkpoint
from tests.checkpoints import make_checkpoint, make_info
from tests.models.catalogue import smallest
from utils.errors import CheckpointError, ConfigError
from utils.predict.ensemble import Ensemble
from utils.predict.options import PredictOptions
from utils.run.checkpoint import load_checkpoint

IMAGE = np.random.default_rng(0).integers(0, 255, (24, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("run") / "best_model.pth", crop_size=32)


@pytest.mark.slow
def test_a_checkpoint_and_its_run_folder_predict_the_same(model):
    one, two = load_predictor(model, device="cpu"), load_predictor(model.parent, device="cpu")
    mask = one.predict(IMAGE)
    assert mask.shape == (24, 40) and mask.dtype == np.uint8
    assert np.array_equal(mask, two.predict(IMAGE))
    assert one.info.classes == make_info().classes


def test_windows_have_the_size_of_the_training_crop_unless_a_window_is_given(model):
    sliding = PredictOptions(mode="sliding")
    assert load_predictor(model, options=sliding, device="cpu").options.window == (32, 32)
    wide = PredictOptions(mode="sliding", window=(16, 48))
    assert load_predictor(model, options=wide, device="cpu").options.window == (16, 48)


def test_several_models_are_an_ensemble(model):
    assert isinstance(load_predictor([model, model], device="cpu"), Ensemble)
    assert isinstance(load_predictor(model, device="cpu", always_ensemble=True), Ensemble)
    with pytest.raises(ConfigError, match="--weights: there is one model only"):
        load_predictor(model, device="cpu", weights=[1.0])
    with pytest.raises(ConfigError, match="--config: 1 for 2 models"):
        load_predictor([model, model], device="cpu", configs=["a.json"])


def test_averaged_weights_are_taken_where_the_run_kept_them(model):
    checkpoint = load_checkpoint(model)
    ema = {
        name: value + 1 if value.is_floating_point() else value for name, value in checkpoint["model"].items()
    }
    averaged, _ = model_from_checkpoint({**checkpoint, "ema": ema})
    plain, _ = model_from_checkpoint(checkpoint)
    name = next(iter(dict(plain.named_parameters())))
    assert torch.equal(averaged.state_dict()[name], plain.state_dict()[name] + 1)
    assert not averaged.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": {"type": "UNett"}}, "cannot be built: arch.type: no model called 'UNett'; did you mean"),
        ({"arch": {"type": "UNet", "args": {"chanels": 3}}}, "cannot be built: arch.args.chanels"),
        ({"arch": "UNet"}, "cannot be built: arch.type: missing"),
        ({"dataset": {}}, "holds no complete model"),
    ],
)
def test_a_checkpoint_that_holds_no_model_is_refused_in_one_line(model, change, message):
    with pytest.raises(CheckpointError, match=message):
        model_from_checkpoint({**load_checkpoint(model), **change})


def test_weights_of_another_architecture_are_counted_and_named():
    model = smallest("UNet")
    weights = dict(model.state_dict())
    name = sorted(weights)[0]
    weights["extra"] = weights.pop(name)
    with pytest.raises(CheckpointError, match="1 missing, 1 unexpected, 0 of another shape"):
        load_weights(model, weights)


def test_read_only_and_strided_images_are_predicted_like_any_other(model):
    predictor = load_predictor(model, device="cpu")
    expected = predictor.predict(IMAGE)
    read_only = IMAGE.copy()
    read_only.flags.writeable = False
    assert np.array_equal(predictor.predict(read_only), expected)
    assert np.array_equal(predictor.predict(IMAGE[:, ::-1][:, ::-1]), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("facts", "tta"), [({}, 2), ({"flip": True}, 2), ({"flip": False}, 1)])
def test_mirror_images_are_averaged_if_training_had_them_or_it_is_not_known(tmp_path, caplog, facts, tta):
    path = make_checkpoint(tmp_path / "best_model.pth", facts=facts)
    asked = PredictOptions(mode="multiscale", tta=None)
    with caplog.at_level(logging.INFO):
        made = load_predictor(path, options=asked, device="cpu")
    assert made.options.tta == ("identity", "hflip")[:tta]
    assert ("was trained without mirror images" in caplog.text) == (tta == 1)
    given = load_predictor(path, options=PredictOptions(tta=("hflip",)), device="cpu")
    assert given.options.tta == ("hflip",)


@pytest.mark.slow
def test_pairs_of_classes_reach_the_predictor(tmp_path):
    options = PredictOptions(tta=("hflip",))
    pair = {"flip_pairs": [["c0", "c1"]]}
    plain, swapped = (
        load_predictor(make_checkpoint(tmp_path / f"{name}.pth", facts=facts), options=options, device="cpu")
        for name, facts in (("plain", {}), ("pairs", pair))
    )
    assert np.array_equal(swapped.probabilities(IMAGE), plain.probabilities(IMAGE)[[1, 0, 2, 3]])
