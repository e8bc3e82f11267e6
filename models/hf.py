"""Networks of transformers (an optional package: requirements/transformers.txt)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import ALIGN_CORNERS, BaseModel, SegmentationOutput
from models.hf_network import UNIVERSAL, HFName, build_network, folder_of, read_config
from models.pretrained import adapt_first
from utils.errors import ConfigError
from utils.losses.base import BaseLoss
from utils.losses.mask_classification import MaskClassificationLoss, MaskWeights
from utils.losses.training import TrainingLoss

_TINY_SCORE = 1e-6
_INPUT = 3  # channels that these networks are built for


class HF(BaseModel):
    """A segmentation network of transformers behind this project's contract.

    Semantic networks (segformer, upernet, beit, dpt, mobilevit, mobilevitv2) give logits and are trained with the
    loss of the config. Universal ones (mask2former, oneformer, eomt, eomt_dinov3) predict a class and a mask for
    each of their queries; the score of a class at a pixel is the sum over the queries of the product of both
    probabilities, and ``logits`` are the logarithms of these scores. They bring their loss
    (:class:`utils.losses.mask_classification.MaskClassificationLoss`, with the weights of the configuration).

    EoMT takes images of one size, to which others are resized; DPT takes squares, to which others are padded.
    OneFormer predicts with its task fixed to semantic segmentation and without its text encoder. Auxiliary heads
    of upernet and beit are not built.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        model: kind of network.
        config: arguments of its configuration in transformers; what is left out follows the folder, and
            otherwise the defaults of transformers.
        weights: a folder with ``config.json`` and weights, as ``save_pretrained`` writes it; null for random
            weights. Its configuration is recorded with the run, which needs the folder no more.
        hub: let ``weights`` name a repository of the hub, which is then downloaded.

    Raises:
        ValueError: transformers is missing or too old, or refuses the configuration.
        ConfigError: the folder cannot be read, or holds the weights of another network.
    """

    fetches: ClassVar[Mapping[str, Any]] = {"weights": None}

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        model: HFName = "segformer",
        config: dict[str, Any] | None = None,
        weights: str | None = None,
        hub: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.kind = model
        folder = None if weights is None else folder_of(weights, hub)
        given = config or {}
        if folder is not None:
            given = {**read_config(folder, model), **given}
        self.network, brought = build_network(model, given, num_classes, folder)
        if brought is not None:
            self.normalisation = brought
        network: Any = self.network
        self.settings: Any = network.config
        self._adapt(in_channels, folder is not None)
        self.stride = _stride(self.settings, model)
        if model == "oneformer":
            self.register_buffer("task", _task(folder, network.config.task_seq_len))

    task: Tensor  # token ids of the task (1, length), of OneFormer

    @classmethod
    def resolve_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments with the configuration of the folder in ``config``."""
        weights, model = arguments.get("weights"), arguments.get("model", "segformer")
        if weights is None or (arguments.get("config") and not Path(weights).is_dir()):
            return dict(arguments)  # a run that is continued has no need of the folder
        folder = folder_of(weights, arguments.get("hub", False))
        config = {**read_config(folder, model), **(arguments.get("config") or {})}
        return {**arguments, "config": config}

    @classmethod
    def brings_loss_for(cls, arguments: Mapping[str, Any]) -> bool:
        """Return whether the network is a universal one."""
        return arguments.get("model") in UNIVERSAL

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
        """The encoder; EoMT has none apart from its queries.

        Raises:
            AttributeError: there is none.
        """
        network: Any = self.network
        if self.kind in ("mask2former", "oneformer"):
            encoder: nn.Module = network.model.pixel_level_module.encoder
            return encoder
        name = "backbone" if hasattr(network, "backbone") else network.base_model_prefix
        if self.kind in UNIVERSAL:
            raise AttributeError(f"{self.kind} has no encoder of its own")
        part: nn.Module = network.get_submodule(name)
        return part

    def build_criterion(self, pixel: BaseLoss, aux_weight: float) -> TrainingLoss:
        """Return the loss of classes and masks for a universal network, that of the config for a semantic one.

        Raises:
            ConfigError: two classes by one logit are asked for of a universal network.
        """
        if self.kind not in UNIVERSAL:
            return super().build_criterion(pixel, aux_weight)
        if self.one_logit:
            raise ConfigError(
                f"arch.args.num_classes: {self.kind} has no single logit for two classes; leave it out"
            )
        parts = ("class_weight", "mask_weight", "dice_weight", "no_object_weight")
        weights = MaskWeights(*(float(getattr(self.settings, part)) for part in parts))
        queries, points = int(self.settings.num_queries), int(self.settings.train_num_points)
        return MaskClassificationLoss(
            self.num_classes, queries, self.stride, weights, points, pixel.ignore_index
        )

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        if self.kind in UNIVERSAL:
            return self._universal(images)
        if self.kind == "beit":
            logits: Tensor = self.network(images, interpolate_pos_encoding=True).logits
            return logits
        if self.kind != "dpt":
            logits = self.network(images).logits
            return logits
        height, width = images.shape[-2:]
        side = max(height, width)
        logits = self.network(F.pad(images, (0, side - width, 0, side - height))).logits
        rows, columns = (-(-size * logits.shape[-1] // side) for size in (height, width))
        return logits[..., :rows, :columns]

    def _universal(self, images: Tensor) -> SegmentationOutput:
        arguments: dict[str, Any] = {}
        if self.kind == "oneformer":
            arguments["task_inputs"] = self.task.expand(len(images), -1)
        if self.kind.startswith("eomt"):
            side = self.settings.image_size
            images = F.interpolate(images, (side, side), mode="bilinear", align_corners=ALIGN_CORNERS)
        else:
            arguments["output_auxiliary_logits"] = self.training
        with _predictions(self.network) as earlier:
            output = self.network(images, **arguments)
        last = output.class_queries_logits, output.masks_queries_logits
        scores = _scores(*last)
        if not self.training:
            return SegmentationOutput(scores)
        found = output.get("auxiliary_logits") or output.get("auxiliary_predictions") or ()
        pairs = [(each["class_queries_logits"], each["masks_queries_logits"]) for each in found]
        pairs += [(labels, masks) for masks, labels in earlier[:-1]]  # the last of them is the network's own
        return SegmentationOutput(scores, extra=tuple(part for pair in (*pairs, last) for part in pair))

    def _adapt(self, in_channels: int, pretrained: bool) -> None:
        """Let the network take ``in_channels`` instead of 3."""
        if in_channels == _INPUT:
            return
        adapt_first(self.network, in_channels, pretrained)
        for module in self.network.modules():
            if getattr(module, "num_channels", None) == _INPUT:
                setattr(module, "num_channels", in_channels)  # noqa: B010 (it compares it with the image's)


def _scores(labels: Tensor, masks: Tensor) -> Tensor:
    """Logarithms of class scores (N, C, h, w) of (N, Q, C + 1) and (N, Q, h, w) logits."""
    shares = labels.float().softmax(dim=-1)[..., :-1]
    return torch.einsum("nqc,nqhw->nchw", shares, masks.float().sigmoid()).clamp_min(_TINY_SCORE).log()


@contextmanager
def _predictions(network: Any) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect the mask and class logits of each call of EoMT's ``predict``, of which it returns the last only."""
    found: list[tuple[Tensor, Tensor]] = []
    if not hasattr(network, "predict"):
        yield found
        return
    original = network.predict

    @functools.wraps(original)
    def predict(*arguments: Any) -> tuple[Tensor, Tensor]:
        found.append(original(*arguments))
        return found[-1]

    network.predict = predict
    try:
        yield found
    finally:
        del network.predict


def _stride(settings: Any, model: str) -> int:
    if model.startswith("eomt"):
        return 1  # images are resized to the network's own size
    if model in ("beit", "dpt"):
        return 2 * int(settings.patch_size or 16)  # the coarsest feature has half as many cells as patches
    return 64 if model == "mobilevitv2" else 32  # which unfolds features of stride 32 in patches of 2x2


def _task(folder: Any, length: int) -> Tensor:
    """Token ids of OneFormer's task (1, length); a constant where the folder has no tokenizer."""
    if folder is None or not (folder / "vocab.json").is_file():
        return torch.ones(1, length)
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)(
        "the task is semantic", padding="max_length", truncation=True, max_length=length
    )
    return torch.tensor([tokens["input_ids"]], dtype=torch.float32)
