"""Base class of models: one output type, exact output size, parameter groups, lasting freezes."""

from __future__ import annotations

import inspect
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from base.outputs import (
    ALIGN_CORNERS,
    SegmentationOutput,
    beside_zero,
    fit,
    is_exporting,
    pad_to_multiple,
)
from utils.config.user_code import source_of
from utils.dataset_info import Normalisation
from utils.errors import ConfigError
from utils.losses.base import BaseLoss
from utils.losses.training import DeepSupervision, TrainingLoss

__all__ = ["ALIGN_CORNERS", "BaseModel", "SegmentationOutput", "is_exporting"]


class _ModelMeta(ABCMeta):
    """Metaclass that applies the freezing options of a constructor call to the finished model.

    A subclass therefore neither declares nor forwards them.
    """

    def __call__(
        cls, *args: Any, freeze_bn: bool = False, freeze_backbone: bool = False, **kwargs: Any
    ) -> Any:
        model = super().__call__(*args, **kwargs)
        model.freeze(bn=freeze_bn, backbone=freeze_backbone)
        return model


class BaseModel(nn.Module, ABC, metaclass=_ModelMeta):
    """Base of every architecture.

    A subclass builds its layers in ``__init__(self, num_classes, in_channels=3, ...)``, puts the
    pretrained part (if it has one) in ``self.backbone``, sets :attr:`stride`, and implements
    :meth:`_forward`. The base pads, crops, resizes and freezes; every constructor takes its arguments.

    Attributes:
        fetches: arguments that may fetch weights, with the value that fetches none, for models whose own weights
            are loaded from a checkpoint.
        stride: :meth:`_forward` gets images padded to a multiple of it.
        one_logit: two classes by one logit: the first class has the constant logit 0.
        num_layers: the layer of the heads, for ``optimizer.layer_decay``; 0 where layers have no order.
        brings_loss: :meth:`build_criterion` makes no use of the config's loss, which is then refused.
        backbone: the pretrained part, if the model has one.
        architecture_version: raised by every change of a class's layers or arithmetic after which the weights of
            older checkpoints do not fit, or compute something else; checkpoints record it.

    Args:
        num_classes: number of classes.
        in_channels: number of image channels.
        freeze_bn: batch norm keeps its statistics, weights and biases.
        freeze_backbone: the backbone neither trains nor updates its statistics.

    Raises:
        ValueError: a number is below 1, or a model without a backbone is to freeze it.
    """

    fetches: ClassVar[Mapping[str, Any]] = {"pretrained": False}
    architecture_version: ClassVar[int] = 1
    stride: int = 1
    one_logit: bool = False
    num_layers: int = 0
    brings_loss: ClassVar[bool] = False
    backbone: nn.Module  # declared without a value, which would hide the module of that name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__signature__ = _with_freezing(inspect.signature(cls.__init__, eval_str=True))  # type: ignore[attr-defined]

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        if num_classes < 1 or in_channels < 1:
            raise ValueError("num_classes and in_channels must be at least 1")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self._normalisation: Normalisation | None = None
        self._freeze_bn = False
        self._freeze_backbone = False

    @classmethod
    def arguments_of_version(cls, version: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that build today what an earlier version built from ``arguments``.

        A class that raises :attr:`architecture_version` overrides this where an option keeps the earlier form;
        otherwise older checkpoints are refused.

        Args:
            version: below :attr:`architecture_version`.
            arguments: ``arch.args`` of the checkpoint; unchecked, and not to be changed.

        Raises:
            ValueError: that version can no longer be built.
        """
        raise ValueError(f"{cls.__name__} has no form of version {version}")

    @classmethod
    def resolve_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that a run records: whatever they name that its checkpoints must not depend on is
        read.

        Args:
            arguments: ``arch.args`` of a checked config; not to be changed.

        Raises:
            ConfigError: what they name cannot be read.
        """
        return dict(arguments)

    @classmethod
    def brings_loss_for(cls, arguments: Mapping[str, Any]) -> bool:
        """Return :attr:`brings_loss`, for classes where it depends on ``arch.args``."""
        return cls.brings_loss

    @abstractmethod
    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        """Compute logits of (N, C, H, W) images whose sides are multiples of :attr:`stride`.

        Returns:
            Logits, or a :class:`SegmentationOutput`, at any resolution; the base resizes them.
        """

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Compute logits at exactly the size of the images.

        Args:
            images: (N, in_channels, H, W) float, normalised, with H, W >= 1.

        Raises:
            ConfigError: :meth:`_forward` returned no logits of the classes; or, in training, batch norm gets one
                value per channel (a batch of one image).
        """
        output = self.forward_coarse(images)
        logits = self.fit_to(output.logits, images)
        if not self.training:
            return SegmentationOutput(logits)
        aux = tuple(self.fit_to(head, images) for head in output.aux)
        return SegmentationOutput(logits, aux, output.extra)

    def fit_to(self, logits: Tensor, images: Tensor) -> Tensor:
        """Logits of :meth:`forward_coarse` at exactly the size of ``images``."""
        height, width = images.shape[-2:]
        size = tuple(side + -side % self.stride for side in (height, width))
        return fit(logits, size)[..., :height, :width]

    def forward_coarse(self, images: Tensor) -> SegmentationOutput:
        """Logits at the network's own resolution, for whoever does the resizing.

        They cover the images padded on the right and at the bottom to multiples of :attr:`stride`;
        :meth:`forward` resizes them bilinearly to that size and crops.
        """
        padded = pad_to_multiple(images, self.stride)
        try:
            output = self._forward(padded)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(self._single_value_remedy(len(images))) from error
        if isinstance(output, Tensor):
            output = SegmentationOutput(output)
        if not is_exporting() and not torch.compiler.is_compiling():
            self._check_output(output)
        if self.one_logit:
            aux = tuple(map(beside_zero, output.aux))
            return SegmentationOutput(beside_zero(output.logits), aux, output.extra)
        return output

    def build_criterion(self, pixel: BaseLoss, aux_weight: float) -> TrainingLoss:
        """Return the loss that trains this model; validation uses ``pixel`` on the logits.

        Args:
            pixel: the loss of the config.
            aux_weight: ``trainer.aux_weight``.
        """
        return DeepSupervision(pixel, aux_weight)

    def set_progress(self, share: float) -> None:
        """Take notice of the share of the run's optimizer steps that are done (0..1), before each step.

        A model whose training changes over a run derives that from the share alone, so that a resumed run
        continues where it was.
        """

    @property
    def normalisation(self) -> Normalisation | None:
        """What the loaded weights of the backbone were trained with; ``None`` where none were loaded."""
        backbone = getattr(self, "backbone", None)
        return self._normalisation or getattr(backbone, "normalisation", None)

    @normalisation.setter
    def normalisation(self, normalisation: Normalisation) -> None:
        self._normalisation = normalisation

    def get_backbone_params(self) -> list[nn.Parameter]:
        """Return the trainable parameters of the pretrained part, if there is one."""
        backbone = getattr(self, "backbone", None)
        return [] if backbone is None else [p for p in backbone.parameters() if p.requires_grad]

    def get_decoder_params(self) -> list[nn.Parameter]:
        """Return the trainable parameters outside the backbone."""
        backbone = {id(p) for p in self.get_backbone_params()}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in backbone]

    def layer_of(self, name: str) -> int:
        """Return the depth of a parameter: 0 for embeddings, i for block i (from 1), ``num_layers`` for heads."""
        part, _, rest = name.partition(".")
        find: Any = getattr(self.backbone, "layer_of", None) if part == "backbone" else None
        return self.num_layers if find is None else find(rest)

    def freeze(self, *, bn: bool = False, backbone: bool = False) -> None:
        """Freeze batch norm, the backbone or both, for good: :meth:`train` keeps them frozen.

        Args:
            bn: freeze every batch norm of the model.
            backbone: freeze the pretrained part.

        Raises:
            ValueError: the model has no backbone to freeze.
        """
        if backbone and not hasattr(self, "backbone"):
            raise ValueError(f"freeze_backbone: {type(self).__name__} has no backbone to freeze")
        self._freeze_bn |= bn
        self._freeze_backbone |= backbone
        for module in self._frozen_modules():
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> BaseModel:
        """Set training or eval mode; frozen parts stay in eval mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def summary(self) -> str:
        """Return the name of the model and its number of parameters in one line."""
        counts = [(p.numel(), p.requires_grad) for p in self.parameters()]
        total, trained = sum(n for n, _ in counts), sum(n for n, trains in counts if trains)
        return f"{type(self).__name__}: {total:,} parameters, {trained:,} of them trained"

    def __str__(self) -> str:
        return f"{self!r}\n{self.summary()}"

    def _check_output(self, output: object) -> None:
        """Raise a ConfigError for an output that is no logits, with the place of the mistake."""
        place = f"arch.type: {type(self).__name__}._forward{source_of(type(self)._forward)} returned"
        channels = 1 if self.one_logit else self.num_classes
        heads = (output.logits, *output.aux) if isinstance(output, SegmentationOutput) else (output,)
        for head in heads:
            if not isinstance(head, Tensor):
                raise ConfigError(
                    f"{place} {'None' if head is None else f'a {type(head).__name__}'}; it returns logits "
                    "(N, num_classes, H, W), or a SegmentationOutput of them"
                )
            if head.ndim != 4 or head.shape[1] != channels:
                raise ConfigError(
                    f"{place} the shape {tuple(head.shape)}; expected (N, {channels}, H, W): one channel "
                    "for each class"
                )
        if isinstance(output, SegmentationOutput) and not all(isinstance(e, Tensor) for e in output.extra):
            raise ConfigError(f"{place} an extra that is not a tuple of tensors")

    def _single_value_remedy(self, batch: int) -> str:
        return (
            f"train_loader.args.batch_size: batch norm in {type(self).__name__} was given one value per "
            f"channel ({batch} image per device, pooled to 1x1), which has no variance; use at least 2 images "
            "per device, a larger crop_size, or freeze_bn with pretrained weights"
        )

    def _frozen_modules(self) -> list[nn.Module]:
        frozen: list[nn.Module] = []
        if self._freeze_backbone:
            frozen.append(self.backbone)
        if self._freeze_bn:
            frozen += [m for m in self.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        return frozen


def _with_freezing(signature: inspect.Signature) -> inspect.Signature:
    """Return a constructor's signature without self, with the two options of the metaclass."""
    own = list(signature.parameters.values())[1:]
    policies = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
        for name in ("freeze_bn", "freeze_backbone")
    ]
    return signature.replace(parameters=own + policies, return_annotation=inspect.Signature.empty)
