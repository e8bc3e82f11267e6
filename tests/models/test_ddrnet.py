"""DDRNet's parts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.ddrnet import DAPPM, DDRNet


def test_the_pyramid_adds_every_scale_to_the_finer_one():
    """Against the formula of the paper, with torch's own poolings."""
    torch.manual_seed(0)
    pyramid = DAPPM(8, 4, 6).eval()
    features = torch.randn(2, 8, 9, 13)
    pooled = [
        features,
        F.avg_pool2d(features, 5, 2, 2),
        F.avg_pool2d(features, 9, 4, 4),
        F.avg_pool2d(features, 17, 8, 8),
        F.adaptive_avg_pool2d(features, 1),
    ]
    with torch.no_grad():
        levels = [scale[1](part) for scale, part in zip(pyramid.scales, pooled, strict=True)]
        sums = levels[:1]
        for process, level in zip(pyramid.process, levels[1:], strict=True):
            resized = F.interpolate(level, size=(9, 13), mode="bilinear", align_corners=False)
            sums.append(process(resized + sums[-1]))
        expected = pyramid.compress(torch.cat(sums, 1)) + pyramid.shortcut(features)
        torch.testing.assert_close(pyramid(features), expected)


@pytest.mark.parametrize("use_aux", [True, False])
def test_the_auxiliary_head_exists_in_training_only(use_aux):
    model = DDRNet(3, use_aux=use_aux)
    assert len(model(torch.randn(2, 3, 64, 64)).aux) == use_aux
    assert model.eval()(torch.randn(2, 3, 64, 64)).aux == ()
    head = sum(p.numel() for n, p in model.named_parameters() if n.startswith("aux."))
    assert head == use_aux * (2 * 64 + 64 * 64 * 9 + 2 * 64 + 64 * 3 + 3)


def test_detail_keeps_stride_8_and_context_reaches_64():
    model, shapes = DDRNet(3).eval(), {}
    for name in ("detail5", "stage5"):
        part = model.get_submodule(name)
        part.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: out.shape}))
    model(torch.randn(1, 3, 128, 192))
    assert shapes == {"detail5": (1, 128, 16, 24), "stage5": (1, 512, 2, 3)}
