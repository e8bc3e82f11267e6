"""Promises of every registered model."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from base import BaseModel, SegmentationOutput
from tests.models.catalogue import SMALLEST, each_model, registered, smallest
from utils.errors import ConfigError

SIZES = [(1, 1), (1, 500), (500, 1), (2, 3), (47, 65), (64, 32)]


@pytest.fixture(scope="module", params=each_model())
def built(request) -> tuple[str, BaseModel]:
    """Name and model, built once; tests that change it take a copy."""
    torch.manual_seed(0)
    model = smallest(request.param)
    with torch.no_grad():  # a fresh network may have zero scores everywhere (FCN), which would hide mistakes
        for parameter in model.parameters():
            if parameter.ndim and not parameter.any():
                parameter.normal_(0, 0.05)
    return request.param, model


@pytest.fixture
def model(built) -> BaseModel:
    return built[1]


def test_every_model_is_tested():
    assert set(registered()) == set(SMALLEST)


@pytest.mark.slow
def test_any_size_from_one_pixel(model):
    model.eval()
    with torch.inference_mode():
        for height, width in SIZES:
            output = model(torch.randn(1, 3, height, width))
            assert isinstance(output, SegmentationOutput)
            assert output.logits.shape == (1, 5, height, width)
            assert output.aux == ()
            assert output.logits.isfinite().all()


@pytest.mark.slow
def test_a_batch_equals_its_singles(model):
    model.eval()
    images = torch.randn(3, 3, 40, 56)
    with torch.inference_mode():
        batch = model(images).logits
        singles = torch.cat([model(image[None]).logits for image in images])
    scale = batch.abs().max()
    assert scale > 0
    assert (batch - singles).abs().max() <= 1e-5 * max(scale.item(), 1)


@pytest.mark.slow
def test_every_trainable_parameter_gets_a_gradient(model):
    model = copy.deepcopy(model).train()
    torch.manual_seed(1)
    output = model(torch.randn(2, 3, 33, 47))
    assert output.logits.shape == (2, 5, 33, 47)
    assert all(aux.shape == output.logits.shape for aux in output.aux)
    total = sum(part.square().mean() for part in (output.logits, *output.aux, *output.extra))
    total.backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    dead = [n for n, p in model.named_parameters() if p.requires_grad and not p.grad.any()]
    assert len(dead) <= 0.02 * len(list(model.parameters())), dead


def test_groups_partition_the_trainable_parameters(model):
    backbone, decoder = model.get_backbone_params(), model.get_decoder_params()
    ids = [id(p) for p in backbone + decoder]
    trainable = [id(p) for p in model.parameters() if p.requires_grad]
    assert len(ids) == len(set(ids))
    assert sorted(ids) == sorted(trainable)
    assert decoder
    assert bool(backbone) == hasattr(model, "backbone")


def test_no_module_is_used_under_two_names(model):
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert len(names) == len(list(model.parameters()))


@pytest.mark.slow
def test_state_dict_round_trip_is_bitwise(model):
    model.eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    other.load_state_dict(model.state_dict())
    images = torch.randn(1, 3, 33, 33)
    with torch.inference_mode():
        assert torch.equal(other(images).logits, model(images).logits)


@pytest.mark.slow
def test_freezing_survives_train(built):
    name, _ = built
    model = smallest(name, freeze_bn=True, freeze_backbone="pretrained" in SMALLEST[name]).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(m.training for m in norms)
    assert not any(p.requires_grad for m in norms for p in m.parameters())
    if hasattr(model, "backbone"):
        assert not any(m.training for m in model.backbone.modules())
        assert model.get_backbone_params() == []
    assert model.training and model.get_decoder_params()


def test_a_model_without_backbone_cannot_freeze_it():
    with pytest.raises(ValueError, match="UNet has no backbone"):
        smallest("UNet", freeze_backbone=True)


@pytest.mark.slow
@pytest.mark.parametrize(("in_channels", "num_classes"), [(1, 1), (7, 40)])
def test_channels_and_classes(built, in_channels, num_classes):
    model = smallest(built[0], num_classes, in_channels).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, in_channels, 9, 17)).logits.shape == (1, num_classes, 9, 17)


@pytest.mark.slow
def test_one_image_trains_or_names_the_remedy(built):
    name, model = built
    try:
        logits = copy.deepcopy(model).train()(torch.randn(1, 3, 33, 20)).logits
    except ConfigError as error:
        assert "batch_size" in str(error) and name in str(error)
    else:
        assert logits.shape == (1, 5, 33, 20)


@pytest.mark.slow
def test_deterministic_mode_and_repeatability(model):
    torch.use_deterministic_algorithms(True)
    try:
        torch.manual_seed(3)
        images = torch.randn(2, 3, 32, 48)
        gradients = []
        for _ in range(2):
            twin = copy.deepcopy(model).train()
            torch.manual_seed(4)
            twin(images).logits.square().mean().backward()
            gradients.append([p.grad for p in twin.parameters() if p.grad is not None])
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.slow
def test_exports(model):
    model.eval()
    images = torch.randn(1, 3, 32, 64)
    exported = torch.export.export(model, (images,)).module()
    with torch.inference_mode():
        expected = model(images).logits
        assert torch.allclose(exported(images).logits, expected, atol=1e-4 * max(1, expected.abs().max()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.trace")  # newer releases call all of TorchScript deprecated
def test_traces(model):
    model.eval()
    torch.manual_seed(0)
    with torch.inference_mode():
        traced = torch.jit.trace(model, (torch.randn(1, 3, 33, 64),), check_trace=False)
        images = torch.randn(1, 3, 33, 64)
        assert torch.equal(traced(images)[0], model(images).logits)


@pytest.mark.slow
def test_channels_last_bf16_gives_close_logits(built):
    name, model = built
    model = copy.deepcopy(model).eval()
    torch.manual_seed(0)
    images = torch.randn(1, 3, 48, 32)
    with torch.inference_mode():
        plain = model(images).logits
        with torch.autocast("cpu", torch.bfloat16):
            fast = model.to(memory_format=torch.channels_last)(
                images.contiguous(memory_format=torch.channels_last)
            ).logits
    # where the decoder unpools, rounding moves a maximum among near-equal neighbours
    allowed = 0.5 if name in ("SegNet", "SegResNet", "ENet") else 0.1
    assert (fast.float() - plain).abs().mean() <= allowed * plain.abs().mean() + 1e-3
