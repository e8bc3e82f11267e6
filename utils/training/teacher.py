"""The teacher of a distillation: a trained network whose logits a student learns, beside the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from utils.config.sections import TeacherSection
from utils.data.batch import DeviceBatch
from utils.dataset_info import IGNORE_INDEX, DatasetInfo, class_order, normalise
from utils.errors import ConfigError
from utils.losses.distillation import OUTSIDE, Distillation
from utils.losses.training import TrainingLoss


class TeacherSource(NamedTuple):
    """The file of a teacher, which a checkpoint of the student records.

    Attributes:
        path: the file.
        sha256: hash of its content.
    """

    path: str
    sha256: str


class Teacher:
    """A frozen network in eval mode; no part of the student, so no checkpoint of it holds its weights.

    The network sees the images of the student's batches, augmented and cropped as they are, in its own
    normalisation; :class:`base.BaseModel` and exported models pad them to their size multiple themselves.

    Args:
        network: maps (N, C, H, W) images to an output with ``logits`` of their size, on the student's device.
        info: classes and normalisation of the network.
        student: classes and normalisation of the training data.
        options: the config's ``teacher`` section.
        source: the file of the network.
        device: the student's device.

    Raises:
        ConfigError: the classes or the number of channels are not those of the training data.
    """

    def __init__(
        self,
        network: nn.Module,
        info: DatasetInfo,
        student: DatasetInfo,
        options: TeacherSection,
        source: TeacherSource,
        device: torch.device,
    ) -> None:
        if info.in_channels != student.in_channels:
            raise ConfigError(
                f"teacher.model: {source.path} takes {info.in_channels} channels, the images of the data have "
                f"{student.in_channels}"
            )
        try:
            order = class_order(student.classes, info.classes)
        except ValueError as error:
            raise ConfigError(f"teacher.model: {source.path}: beside the data, it {error}") from error
        self.network = network.eval().requires_grad_(False)
        self.options, self._source = options, source
        self._order = None if info.classes == student.classes else order
        # made once: a copy to a GPU in every step would wait for it
        self._normalise = _between(student, info, device)
        fill = torch.tensor([[student.fill_colour]], dtype=torch.uint8, device=device)
        self._fill = normalise(fill, student).view(1, -1, 1, 1)

    @property
    def facts(self) -> dict[str, Any]:
        """The entries of a checkpoint that say which file taught the student."""
        return {"teacher": {"model": self._source.path, "sha256": self._source.sha256}}

    def criterion(self, loss: TrainingLoss) -> Distillation:
        """Return a student's training loss with the divergence from this teacher."""
        return Distillation(loss, self.options.weight, self.options.temperature)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Compute (N, classes, H, W) logits in the student's order of classes, without a gradient.

        Args:
            images: (N, C, H, W), normalised for the student.
        """
        logits: Tensor = self.network(self._normalise(images)).logits
        return logits if self._order is None else logits[:, self._order]

    def target(self, batch: DeviceBatch) -> Tensor:
        """Return the target of a batch with :data:`OUTSIDE` in place of void where there is no image.

        Such pixels have the fill colour to the bit. A transform of ``albumentations`` may change it; then they are
        void pixels like others. A void pixel of an image that happens to have this colour is left out too.
        """
        painted = (batch.images == self._fill).all(dim=1)
        return batch.target.masked_fill(painted & (batch.target == IGNORE_INDEX), OUTSIDE)


def require_same(recorded: Mapping[str, Any] | None, source: TeacherSource) -> None:
    """Refuse a teacher that is not the one that a run has had so far.

    Args:
        recorded: :attr:`Teacher.facts` of the run's checkpoint; ``None`` where it had none.
        source: the file that the config names now.

    Raises:
        ConfigError: the content of the file is another.
    """
    if recorded is not None and recorded["sha256"] != source.sha256:
        raise ConfigError(
            f"teacher.model: {source.path} is not the file that this run has learned from: its SHA-256 is "
            f"{source.sha256[:12]}..., that of {recorded['model']} was {recorded['sha256'][:12]}..."
        )


def _between(student: DatasetInfo, teacher: DatasetInfo, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the function from images in the student's normalisation to the same in the teacher's."""
    if student.normalisation == teacher.normalisation:
        return lambda images: images
    pairs = list(zip(student.mean, teacher.mean, student.std, teacher.std, strict=True))
    factor = torch.tensor([std / other for _, _, std, other in pairs], device=device).view(1, -1, 1, 1)
    shift = torch.tensor([(mean - own) / other for mean, own, _, other in pairs], device=device)
    return lambda images: images * factor + shift.view(1, -1, 1, 1)
