"""Transforms of albumentations: the check of a config's list, draws, void."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from dataloaders import Shapes
from tests.dataloaders.test_contract import batches, equal
from utils.augment import external
from utils.augment.external import Albumentations, check_albumentations
from utils.errors import ConfigError

ARGS = {"split": "train", "num_images": 8, "image_size": 48, "batch_size": 4}
NOISE = [{"type": "GaussNoise", "args": {"p": 1.0}}]
PATH = "train_loader.args.albumentations"


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    (problem,) = check_albumentations([*NOISE, {"type": "Nothing"}], PATH)
    assert problem.startswith(f"{PATH}: the package is not installed; pip install -r ")
    with pytest.raises(ValueError, match=r"albumentations: the package is not installed; pip install -r "):
        Shapes(**ARGS, albumentations=NOISE)


class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def package(self, monkeypatch):
        monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
        pytest.importorskip("albumentations")

    @pytest.mark.slow
    def test_draws_follow_our_seed_whatever_the_workers(self):
        plain = batches(Shapes(**ARGS))
        noisy = batches(Shapes(**ARGS, albumentations=NOISE))
        assert not equal(plain, noisy)
        assert equal(noisy, batches(Shapes(**ARGS, albumentations=NOISE, num_workers=2)))
        assert equal(
            noisy, batches(Shapes(**ARGS, albumentations=NOISE, num_workers=1, worker_type="process"))
        )

    def test_pixels_from_outside_have_the_fill_colour_and_are_void(self):
        step = Albumentations([{"type": "Affine", "args": {"translate_px": [20, 20], "p": 1.0}}])
        image, label = np.ones((40, 40, 3), np.uint8), np.ones((40, 40), np.uint8)
        for fill in ((9, 9, 9), (7, 8, 9)):
            moved, target = step(image, label, fill, np.random.default_rng(0))
            assert set(np.unique(target)) == {1, 255} and (target == 255).sum() > 100
            assert (moved[target == 255] == fill).all(axis=1).mean() > 0.95

    def test_validation_is_left_alone(self):
        args = {**ARGS, "val": True}
        assert equal(batches(Shapes(**args)), batches(Shapes(**args, albumentations=NOISE)))

    def test_it_pickles(self):
        image, label = np.full((8, 8, 3), 99, np.uint8), np.ones((8, 8), np.uint8)
        step = Albumentations(NOISE)
        first = step(image, label, (0, 0, 0), np.random.default_rng(0))
        again = pickle.loads(pickle.dumps(step))(image, label, (0, 0, 0), np.random.default_rng(0))
        assert np.array_equal(first[0], again[0]) and not np.array_equal(first[0], image)

    @pytest.mark.parametrize(("entry", "place", "message"), [
        ({"type": "GausNoise"}, ".type", "no transform 'GausNoise'; did you mean 'GaussNoise'?"),
        ({"type": "Compose"}, ".type", "no transform 'Compose'"),
        ({}, ".type", "missing"),
        ({"type": "GaussNoise", "arg": {}}, ".arg", "did you mean 'args'?"),
        ({"type": "GaussNoise", "args": [1]}, ".args", "expected an object"),
        ({"type": "GaussNoise", "args": {"std_rang": 1}}, ".args.std_rang", "did you mean 'std_range'?"),
        ({"type": "GaussNoise", "args": {"zzz": 1}}, ".args.zzz", "It takes: std_range, "),
        ({"type": "GaussNoise", "args": {"p": 3}}, ".args.p", "less than or equal to 1, got 3"),
        ({"type": "RandomCrop", "args": {"width": 3}}, ".args.height", "required"),
    ])  # fmt: skip
    def test_a_mistake_is_one_line_with_its_path(self, entry, place, message):
        problems = check_albumentations([*NOISE, entry], PATH)
        (problem,) = [line for line in problems if line.startswith(f"{PATH}[1]{place}: ")]
        assert message in problem and "\n" not in problem and len(problems) == 1
        with pytest.raises(ValueError, match=r"albumentations\[1\]"):
            Shapes(**ARGS, albumentations=[*NOISE, entry])

    def test_all_mistakes_are_found_together(self):
        entries = [
            {"type": "Nothing"},
            {"type": "GaussNoise", "args": {"a": 1, "b": 2}},
            {"type": "Affine", "args": {"scale": "x", "p": 2}},
        ]
        found = {line.split(": ")[0] for line in Shapes.check_arguments({"albumentations": entries}, "x")}
        assert found == {
            "x.albumentations[0].type", "x.albumentations[1].args.a", "x.albumentations[1].args.b",
            "x.albumentations[2].args.scale", "x.albumentations[2].args.p",
        }  # fmt: skip

    @pytest.mark.parametrize("name", ["Normalize", "ToFloat", "FromFloat", "ToTensorV2"])
    def test_what_returns_no_uint8_image_is_refused_when_the_config_is_read(self, name):
        (problem,) = check_albumentations([*NOISE, {"type": name}], PATH)
        assert problem.startswith(f"{PATH}[1].type: {name} ") and problem.endswith("leave it out")

    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            (np.zeros((6, 8, 3), np.float32), np.zeros((6, 8), np.uint8)),
            (np.zeros((6, 8, 1), np.uint8), np.zeros((6, 8), np.uint8)),
            (np.zeros((6, 7, 3), np.uint8), np.zeros((6, 8), np.uint8)),
            (np.zeros((6, 8, 3), np.uint8), np.zeros((6, 8), np.int64)),
            (np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)),
        ],
    )
    def test_what_comes_back_is_uint8_with_the_channels_of_the_image(self, monkeypatch, image, mask):
        class Pipeline:
            def set_random_seed(self, seed):
                """Draws nothing."""

            def __call__(self, **given):
                return {"image": image, "mask": mask}

        step = Albumentations(NOISE)
        monkeypatch.setattr(step, "_build", lambda fill: Pipeline())
        given = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
        with pytest.raises(ConfigError, match=r"albumentations \(GaussNoise\): image and label came back as"):
            step(*given, (0, 0, 0), np.random.default_rng(0))

    @pytest.mark.parametrize("kind", ["thread", "process"])
    def test_a_custom_float_ends_in_one_line_from_a_worker_too(self, monkeypatch, kind):
        monkeypatch.setattr(external, "_REFUSED", {})
        args = {**ARGS, "num_workers": 1, "worker_type": kind}
        with pytest.raises(ConfigError, match="float32"):
            batches(Shapes(**args, albumentations=[{"type": "ToFloat"}]))
