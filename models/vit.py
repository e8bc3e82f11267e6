"""Plain vision transformers of timm (an optional package: requirements/timm.txt) as backbones.

Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021: tokens at one scale in every block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from base.base_model import is_exporting
from models.timm_backbone import PREFIX, import_timm, is_plain_vit
from models.vit_positions import add_positions
from models.weights.for_timm import load_timm
from utils.config.factory import did_you_mean
from utils.dataset_info import Normalisation
from utils.errors import first_line

# arguments of timm's networks that follow from this project's, or that drop tokens of the image
_DERIVED = {
    "num_classes", "in_chans", "global_pool", "class_token", "dynamic_img_size", "dynamic_img_pad",
    "patch_drop_rate", "pretrained", "pretrained_cfg", "features_only", "drop_path_rate",
}  # fmt: skip
_BLOCK = re.compile(r"blocks\.(\d+)\.")


class Tokens(NamedTuple):
    """Tokens of a batch between two blocks.

    Attributes:
        values: (N, prefix + h * w, dim): class and register tokens, then those of the patches by rows.
        rope: rotations of queries and keys, where the network turns them; one per block where ``rope_mixed``.
        grid: (h, w), the patches of a column and of a row.
    """

    values: Tensor
    rope: Any
    grid: tuple[int, int]


class ViT(nn.Module):
    """A plain ViT of timm: patch embedding, positions for images of every size, and blocks.

    A position table is resampled to the patches of the image (bicubic, as timm does); rotary positions are
    computed for them.

    Args:
        name: timm's name of the network, with or without ``timm/``: ``vit_small_patch14_reg4_dinov2``,
            ``vit_small_patch16_dinov3``, ``vit_base_patch16_224.mae``, ``eva02_small_patch14_224`` ...
        in_channels: channels of the images.
        pretrained: true for timm's weights, a file, or ``pip:PACKAGE``; false for none.
        drop_path: stochastic depth of the last block (Huang et al., 2016), 0..1; earlier blocks have less.
        options: further arguments of the network, such as ``depth``.

    Attributes:
        net: timm's network, without its classifier.
        patch: side of a patch in pixels.
        dim: channels of a token.
        prefix: class and register tokens before those of the patches.
        normalisation: what the loaded weights were trained with; ``None`` where none were loaded.

    Raises:
        ValueError: timm is missing or too old, has no such network, or one that is no plain ViT; or an
            option that it does not take.
        ConfigError: the weights cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        in_channels: int = 3,
        pretrained: bool | str = False,
        drop_path: float = 0.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        name = name.removeprefix(PREFIX)
        self.net = _create(name, in_channels, drop_path, options or {})
        _drop_pooling(self.net)
        self.normalisation: Normalisation | None = None
        if pretrained:
            self.normalisation = load_timm(self.net, name, pretrained, in_channels)
        self.net.patch_embed.img_size = None  # whose checks fix a recorded program to the size of its example
        self.patch: int = self.net.patch_embed.patch_size[0]
        self.dim: int = self.net.embed_dim
        self.prefix: int = self.net.num_prefix_tokens

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.net.blocks)

    def keep(self, blocks: int) -> None:
        """Remove the blocks after the first ``blocks``."""
        self.net.blocks = self.net.blocks[:blocks]

    def admit(self, tokens: int, first: int) -> None:
        """Let the blocks from index ``first`` on take further tokens at the front, which have no position."""
        for block in self.net.blocks[first:]:
            if hasattr(block.attn, "num_prefix_tokens"):  # tokens that rotary positions leave out
                block.attn.num_prefix_tokens += tokens

    def normalise(self, values: Tensor) -> Tensor:
        """Apply the last norm, which networks that pool have after the pooling."""
        values = self.net.fc_norm(self.net.norm(values))
        return values

    def forward(self, images: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Compute the normalised tokens of the patches after chosen blocks.

        Args:
            images: (N, in_channels, H, W), the sides multiples of :attr:`patch`.
            layers: ascending indices of blocks, from 0.

        Returns:
            One map (N, dim, H / patch, W / patch) per layer.
        """
        tokens = self.embed(images)
        features = []
        for index in range(layers[-1] + 1):
            tokens = self.block(index, tokens)
            if index in layers:
                features.append(self.to_map(self.normalise(tokens.values), tokens.grid))
        return features

    def embed(self, images: Tensor) -> Tokens:
        """Tokens before the first block, with their positions."""
        patches = self.net.patch_embed(images)  # N, h, w, dim
        embedded = add_positions(self.net, patches) if is_exporting() else self.net._pos_embed(patches)
        values, rope = embedded if isinstance(embedded, tuple) else (embedded, None)
        return Tokens(self.net.norm_pre(values), rope, (patches.shape[1], patches.shape[2]))

    def block(self, index: int, tokens: Tokens, mask: Tensor | None = None) -> Tokens:
        """Tokens after block ``index``.

        Args:
            index: number of the block, from 0.
            tokens: tokens before it.
            mask: (N, 1, T, T) bool, true where the token of a row may attend to that of a column; ``None`` is all.
        """
        given: dict[str, Any] = {} if mask is None else {"attn_mask": mask}
        if tokens.rope is not None:
            mixed = getattr(self.net, "rope_mixed", False)
            given["rope"] = tokens.rope[index] if mixed else tokens.rope
        return tokens._replace(values=self.net.blocks[index](tokens.values, **given))

    def to_map(self, values: Tensor, grid: tuple[int, int]) -> Tensor:
        """Turn (N, ... + h * w, dim) into (N, dim, h, w): the tokens before those of the patches are left out."""
        patches = values[:, values.shape[1] - grid[0] * grid[1] :]
        return patches.transpose(1, 2).reshape(
            values.shape[0], self.dim, *grid
        )  # len() is a constant in a trace

    def layer_of(self, name: str) -> int:
        """Return the depth of a parameter of this module: 0 for embeddings, i + 1 for block i, then the norm."""
        block = _BLOCK.search(name)
        if block:
            return int(block[1]) + 1
        return self.depth + 1 if name.startswith(("net.norm.", "net.fc_norm.")) else 0


def _drop_pooling(net: Any) -> None:
    """Remove what only the image's pooled feature passes through."""
    if getattr(net, "attn_pool", None) is not None:
        net.attn_pool = None
    if not isinstance(net.norm, nn.Identity):
        net.fc_norm = nn.Identity()


def _create(name: str, in_channels: int, drop_path: float, options: Mapping[str, Any]) -> Any:
    timm = import_timm()
    if not timm.is_model(name):
        hint = did_you_mean(name, timm.list_models("*vit*") + timm.list_models("eva*"))
        raise ValueError(f"backbone: timm {timm.__version__} has no network '{name}'{hint or '.'}")
    derived = _DERIVED & options.keys()
    if derived:
        raise ValueError(f"options: {sorted(derived)[0]} follows from other arguments; leave it out")
    if not is_plain_vit(name):
        raise ValueError(
            f"backbone: {name} is no plain ViT (one grid of patches, class and register tokens); take a "
            "network of DINOv2, DINOv3, MAE, SigLIP, DeiT or EVA02, such as vit_small_patch16_dinov3"
        )
    try:
        return timm.create_model(
            name, pretrained=False, num_classes=0, dynamic_img_size=True, in_chans=in_channels,
            drop_path_rate=drop_path, **options,
        )  # fmt: skip
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        key = (
            f"options: {name} does not take {', '.join(options)}"
            if options
            else f"backbone: {name} gives no tokens"
        )
        raise ValueError(f"{key} ({first_line(error)})") from error
