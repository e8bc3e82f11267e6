"""The contract of models, for networks of other packages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from base import BaseModel


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def assert_contract(build: Callable[..., BaseModel]) -> None:
    """Check a network of 4 classes and 5 channels; ``build`` takes the freezing options."""
    model = build().eval()
    with torch.inference_mode():
        for size in ((1, 1), (33, 47), (70, 31)):
            assert model(torch.randn(1, 5, *size)).logits.shape == (1, 4, *size)
        batch, odd = torch.randn(2, 5, 40, 56), torch.randn(1, 5, 33, 47)
        singles = torch.cat([model(image[None]).logits for image in batch])
        assert torch.allclose(model(batch).logits, singles, atol=1e-5 * max(1, singles.abs().max()))
        traced = torch.jit.trace(model, (odd,), check_trace=False)
        assert torch.equal(traced(odd * 2)[0], model(odd * 2).logits)
    output = model.train()(torch.randn(2, 5, 64, 96))
    sum(x.sum() for x in (output.logits, *output.aux)).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    backbone, decoder = model.get_backbone_params(), model.get_decoder_params()
    assert backbone and decoder and len(backbone) + len(decoder) == len(list(model.parameters()))
    frozen = build(freeze_backbone=True, freeze_bn=True).train()
    assert frozen.get_backbone_params() == []
    assert not any(m.training for m in frozen.modules() if isinstance(m, nn.BatchNorm2d))
