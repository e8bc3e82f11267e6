"""A job of inference: options of a command line, failures that stop nothing, a summary that adds up."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from base.base_model import SegmentationOutput
from utils.dataset_info import DatasetInfo, voc_palette
from utils.errors import ConfigError
from utils.images.header import MAX_PIXELS
from utils.images.rle import PRESETS, read_table
from utils.inference.command import parse_arguments
from utils.inference.inputs import ImageFile
from utils.inference.job import InferenceJob, InferenceSummary, JobOptions, RleRequest
from utils.predict.ensemble import Ensemble
from utils.predict.predictor import Predictor

INFO = DatasetInfo(("a", "b", "c"), tuple(voc_palette(3)))


class Channels(nn.Module):
    """A network whose logits are the channels of the image, shifted."""

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, images: torch.Tensor) -> SegmentationOutput:
        return SegmentationOutput(images.roll(self.shift, 1))


def images_of(folder: Path, count: int = 3) -> list[ImageFile]:
    found = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (6 + number, 5, 3), dtype=np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        found.append(ImageFile(path, PurePath(path.name)))
    return found


def load(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.array(opened)


def test_options_come_from_the_command_line():
    base = ["-m", "m.pth", "-i", "in"]
    assert JobOptions.from_arguments(parse_arguments(base, "")) == JobOptions(Path("outputs"))
    flags = [
        "--overlay",
        "--original-ids",
        "--colour",
        "--disagreement",
        "--save-probabilities",
        "--skip-existing",
    ]
    rle = ["--rle", "r.csv", "--rle-preset", "coco", "--rle-class", "2"]
    options = JobOptions.from_arguments(
        parse_arguments([*base, "-o", "out", "--max-pixels", "99", *flags, *rle], "")
    )
    kinds = ("mask", "colour", "overlay", "ids", "probabilities", "disagreement")
    assert options == JobOptions(Path("out"), kinds, 99, True, RleRequest("r.csv", "coco", 2))
    assert JobOptions(Path("out")).max_pixels == MAX_PIXELS


def test_masks_summary_and_run_lengths_of_all_images(tmp_path):
    options = JobOptions(tmp_path / "out", rle=RleRequest(str(tmp_path / "r.csv"), "carvana", 1))
    predictor, images = Predictor(Channels(), INFO), images_of(tmp_path)
    assert InferenceJob(options, predictor, images).run() == 0
    masks = [load(tmp_path / "out" / f"{number}.png") for number in range(3)]
    for image, mask in zip(images, masks, strict=True):
        assert np.array_equal(mask, predictor.predict(load(image.path)))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    pixels = np.concatenate([mask.ravel() for mask in masks])
    assert summary["pixels"] == pixels.size and summary["images"] == 3 and summary["failed"] == {}
    shares = {name: round(float((pixels == index).mean()), 6) for index, name in enumerate("abc")}
    assert summary["class_shares"] == shares
    assert list(read_table(tmp_path / "r.csv", PRESETS["carvana"])) == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_file_that_fails_is_named_and_the_others_are_written(tmp_path, capsys):
    images = images_of(tmp_path)
    images[1].path.write_bytes(b"nothing")
    job = InferenceJob(JobOptions(tmp_path / "out", max_pixels=35), Predictor(Channels(), INFO), images)
    assert job.run() == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "summary.json"]
    assert set(job.summary.failed) == {"1.png", "2.png"}  # the third has 40 pixels
    assert job.summary.failed["2.png"].endswith("or cut it into tiles, or raise --max-pixels")
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines if "error" in line] == [True, True]


def test_an_error_of_the_network_names_the_file(tmp_path):
    class Starved(Channels):
        def forward(self, images: torch.Tensor) -> SegmentationOutput:
            raise torch.OutOfMemoryError("out of memory")

    job = InferenceJob(JobOptions(tmp_path / "out"), Predictor(Starved(), INFO), images_of(tmp_path, 1))
    assert job.run() == 1
    assert str(tmp_path / "0.png") in job.summary.failed["0.png"] and "window" in job.summary.failed["0.png"]


def test_skip_existing_predicts_only_images_without_outputs(tmp_path):
    images, predictor = images_of(tmp_path), Predictor(Channels(), INFO)
    InferenceJob(JobOptions(tmp_path / "out"), predictor, images).run()
    (tmp_path / "out" / "1.png").unlink()
    job = InferenceJob(JobOptions(tmp_path / "out", skip_existing=True), predictor, images)
    assert job.run() == 0 and job.summary.images == 1 and (tmp_path / "out" / "1.png").is_file()


def test_probabilities_and_disagreement_fit_the_mask(tmp_path):
    ensemble = Ensemble([Predictor(Channels(shift), INFO) for shift in (0, 0, 1)], "majority")
    options = JobOptions(tmp_path / "out", ("mask", "probabilities", "disagreement"))
    (image,) = images_of(tmp_path, 1)
    assert InferenceJob(options, ensemble, [image]).run() == 0
    mask, disagreement = ensemble.predict_with_disagreement(load(image.path))
    assert np.array_equal(load(tmp_path / "out" / "0.png"), mask)
    assert np.array_equal(load(tmp_path / "out" / "0.disagreement.png"), disagreement)
    with np.load(tmp_path / "out" / "0.npz") as stored:
        probabilities = stored["probabilities"]
    assert probabilities.shape == (3, *mask.shape) and probabilities.dtype == np.float16
    assert np.array_equal(probabilities.argmax(0), mask)


def test_a_class_that_does_not_exist_is_refused_before_any_work(tmp_path):
    options = JobOptions(tmp_path / "out", rle=RleRequest("r.csv", "carvana", 3))
    with pytest.raises(ConfigError, match="--rle-class 3"):
        InferenceJob(options, Predictor(Channels(), INFO), [])


def test_a_summary_without_images_is_still_strict_json(tmp_path):
    InferenceSummary(INFO).save(tmp_path / "s.json", 1.23456)
    content = json.loads((tmp_path / "s.json").read_text(), parse_constant=pytest.fail)
    assert content == {
        "images": 0, "seconds": 1.235, "pixels": 0, "class_shares": {}, "failed": {}, "per_image": {}
    }  # fmt: skip
