"""The model that a run starts with, and the normalisation of its images."""

from __future__ import annotations

import logging

import pytest
import timm
import torch
from torch import nn

import train
from base import BaseModel
from models.build import build_untrained
from models.start import start_model
from models.trained import model_from_checkpoint
from tests.checkpoints import make_info
from tests.experiments import experiment_of, open_data
from utils.config.factory import Component
from utils.dataset_info import IMAGENET_MEAN, IMAGENET_STD, Normalisation
from utils.errors import ConfigError
from utils.run.checkpoint import load_checkpoint

HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NAME = "timm/test_convnext"  # whose weights expect 0.5


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """File of random weights of a small network of timm."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "convnext.pth"
    torch.save(timm.create_model("test_convnext").state_dict(), path)
    return str(path)


def loader_spec(split, **more):
    args = {"split": split, "num_images": 4, "image_size": 32, "batch_size": 2, **more}
    return {"type": "Shapes", "args": args}


def config(tmp_path, **more):
    return {
        "name": "tiny",
        "n_gpu": 0,
        "train_loader": loader_spec("train", rotate=20, augment=True),
        "val_loader": loader_spec("val", val=True),
        "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "loss": "CrossEntropyLoss2d",
        "lr_scheduler": {"type": "Poly", "args": {}},
        "trainer": {"epochs": 2, "tensorboard": False, "save_period": 0, "save_dir": str(tmp_path)},
        **more,
    }


def deeplab(**args):
    return {"type": "DeepLab", "args": {"backbone": NAME, **args}}


@pytest.mark.slow
def test_pretrained_weights_bring_their_normalisation_to_all_parts_of_a_run(tmp_path, weights, caplog):
    experiment = experiment_of(config(tmp_path, arch=deeplab(pretrained=weights)))
    with caplog.at_level(logging.INFO):
        trainer = train.build_trainer(experiment, "cpu")
    assert (
        "Images are normalised as the weights expect: mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5]"
        in caplog.text
    )
    assert "the data set's own is mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]" in caplog.text
    for loader in (trainer.train_loader, trainer.val_loader):
        assert loader.info.normalisation == loader.dataset.info.normalisation == HALF
        assert loader.collate_fn._fill == (128, 128, 128)
    assert trainer.train_data.info.normalisation == trainer.val_data.info.normalisation == HALF
    dataset = trainer.state_dict()["dataset"]
    assert dataset["mean"] == [0.5] * 3 and dataset["std"] == [0.5] * 3
    batch = next(iter(trainer.train_data))
    raw = next(iter(trainer.train_loader)).images
    assert torch.allclose(batch.images, raw.permute(0, 3, 1, 2) / 127.5 - 1, atol=1e-6)
    corner = [128, 128, 128]
    assert any(
        (image == torch.tensor(corner)).all(-1).any() for image in raw
    )  # turned images are filled with it


def test_without_pretrained_weights_the_data_set_decides(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        trainer = train.build_trainer(experiment_of(config(tmp_path, arch=deeplab())), "cpu")
    assert trainer.info.mean == IMAGENET_MEAN and trainer.info.std == IMAGENET_STD
    assert "normalised as" not in caplog.text


class Own(BaseModel):
    """A model of a user's own whose backbone knows its normalisation."""

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = nn.Conv2d(in_channels, num_classes, 1)
        self.normalisation = HALF

    def _forward(self, images):
        return self.backbone(images)


def folder_of_images(root, channels=3):
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(8):
        shape = (16, 16) if channels == 1 else (16, 16, channels)
        cv2.imwrite(str(root / "images" / f"{number}.png"), rng.integers(0, 255, shape, dtype=np.uint8))
        cv2.imwrite(str(root / "masks" / f"{number}.png"), rng.integers(0, 2, (16, 16), dtype=np.uint8))


def folder_spec(root, **more):
    args = {"data_dir": str(root), "split": "train", "images": "images", "masks": "masks",
            "classes": ["a", "b"], "batch_size": 2, **more}  # fmt: skip
    return {"type": "Folder", "args": args}


def test_a_config_that_sets_a_mean_keeps_it_and_gets_one_line(tmp_path, caplog):
    folder_of_images(tmp_path / "data")
    spec = folder_spec(tmp_path / "data", mean=[0.1, 0.2, 0.3])
    loader = open_data(spec)
    arch = {"type": "tests.models.test_start.Own"}
    with caplog.at_level(logging.INFO):
        start_model(experiment_of(config(tmp_path, arch=arch, train_loader=spec)), loader, None)
    assert loader.info.mean == (0.1, 0.2, 0.3) and loader.info.std == IMAGENET_STD
    lines = [record.message for record in caplog.records if "train_loader.args: mean [0.1" in record.message]
    assert len(lines) == 1 and "the weights expect mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5]" in lines[0]


def test_grey_images_get_the_average_of_the_channels(tmp_path):
    folder_of_images(tmp_path / "data", channels=1)
    spec = folder_spec(tmp_path / "data", channels=1)
    loader = open_data(spec)
    arch = {"type": "tests.models.test_start.Own"}
    start_model(experiment_of(config(tmp_path, arch=arch, train_loader=spec)), loader, None)
    assert loader.info.normalisation == Normalisation((0.5,), (0.5,))


def test_cached_images_get_the_new_colour_behind_transparent_pixels(tmp_path):
    import cv2
    import numpy as np

    folder_of_images(tmp_path)
    for path in (tmp_path / "images").iterdir():
        cv2.imwrite(str(path), np.zeros((16, 16, 4), np.uint8))
    spec = folder_spec(tmp_path, cache="ram", val_split=1, batch_size=1)
    train_loader = open_data(spec)
    for loader in (train_loader, train_loader.get_val_loader()):
        loader.normalise_as(HALF)
        assert (next(iter(loader)).images == 128).all()


@pytest.mark.slow
def test_init_from_brings_the_normalisation_of_its_checkpoint_and_a_resumed_run_keeps_its_own(
    tmp_path, weights, monkeypatch
):
    first = experiment_of(config(tmp_path / "a", arch=deeplab(pretrained=weights)))
    train.build_trainer(first, "cpu").save()
    (last,) = (tmp_path / "a").rglob("last.pth")
    second = experiment_of(config(tmp_path / "b", arch=deeplab(), init_from=str(last)))
    trainer = train.build_trainer(second, "cpu")
    assert trainer.info.normalisation == HALF
    trainer.save()
    (last,) = (tmp_path / "b").rglob("last.pth")
    saved = load_checkpoint(last)
    # neither the weights' file nor that of init_from is needed any more
    monkeypatch.setattr("models.weights.for_timm.read_weights", None)
    resumed = train.build_trainer(
        experiment_of({**saved["config"], "init_from": "gone.pth"}), "cpu", last.parent, checkpoint=saved
    )
    assert resumed.info.normalisation == HALF
    resumed.load_state_dict(saved)
    first_state = load_checkpoint(next((tmp_path / "a").rglob("last.pth")))
    model, info = model_from_checkpoint(first_state)
    assert info.normalisation == HALF and model.normalisation is None


@pytest.mark.slow
def test_a_checkpoint_of_an_earlier_version_resumes_with_its_own_normalisation(tmp_path, weights):
    trainer = train.build_trainer(experiment_of(config(tmp_path, arch=deeplab())), "cpu")
    trainer.save()
    (last,) = tmp_path.rglob("last.pth")
    saved = load_checkpoint(last)
    # such a run ignored what its weights expect
    saved["config"]["arch"]["args"]["pretrained"] = weights
    resumed = train.build_trainer(experiment_of(saved["config"]), "cpu", last.parent, checkpoint=saved)
    assert resumed.info.mean == IMAGENET_MEAN


@pytest.mark.slow
def test_published_weights_are_loaded_into_the_backbone_by_init_from(tmp_path, weights, caplog):
    with caplog.at_level(logging.INFO):
        experiment = experiment_of(config(tmp_path, arch=deeplab(), init_from=weights))
        trainer = train.build_trainer(experiment, "cpu")
    state = torch.load(weights, weights_only=True)
    own = trainer.model.backbone.net.state_dict()
    for name in ("stem.0.weight", "stages.3.blocks.0.mlp.fc1.weight"):
        assert torch.equal(own[name.replace(".", "_", 1)], state[name])
    assert "init_from: the file has the weights of the model's part backbone.net" in caplog.text
    assert trainer.info.normalisation == HALF


def test_a_missing_network_of_timm_is_found_before_any_data_is_opened(tmp_path):
    with pytest.raises(ConfigError, match=r"arch\.args\.backbone: 'resnet19' is not offered; did you mean"):
        experiment_of(config(tmp_path, arch={"type": "PSPNet", "args": {"backbone": "resnet19"}}))


def test_a_model_without_weights_of_its_own_fetches_none():
    model = build_untrained(
        Component("DeepLab", {"backbone": "resnet18", "pretrained": "gone.pth"}), make_info(3)
    )
    assert model.normalisation is None
