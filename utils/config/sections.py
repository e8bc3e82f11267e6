"""The sections of a config file, each a dataclass: its fields are the keys, their types, their defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from utils.config.annotations import Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from utils.config.factory import check_arguments
from utils.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """Something that a config chooses by name.

    Attributes:
        type: a name of the catalogue, or ``package.module.Class``.
        args: arguments of its constructor.
    """

    type: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerSection(Component):
    """Any optimizer of ``torch.optim``.

    Attributes:
        differential_lr: give the backbone its own, smaller learning rate.
        backbone_lr_factor: how much smaller.
        no_decay_norm_bias: no weight decay on norms and biases.
    """

    differential_lr: bool = False
    backbone_lr_factor: PositiveFloat = 0.1
    no_decay_norm_bias: bool = False


@dataclass(frozen=True)
class SchedulerSection(Component):
    """``Poly``, ``OneCycle``, or any scheduler of ``torch.optim.lr_scheduler``.

    Attributes:
        interval: step it after every optimizer step or after every epoch; ``None`` picks what the
            scheduler is made for.
        warmup_epochs: raise the learning rate linearly over so many epochs before the scheduler
            starts (``Poly`` and ``OneCycle`` have their own).
    """

    interval: Literal["step", "epoch"] | None = None
    warmup_epochs: NonNegativeInt = 0


@dataclass(frozen=True)
class TrainerSection:
    """How a run goes: length, saving, monitoring, logging.

    Attributes:
        epochs: passes over the training data.
        save_dir: runs go to ``save_dir/name/TIME``.
        save_period: keep a numbered checkpoint every so many epochs; 0 keeps none.
        keep_checkpoints: numbered checkpoints kept, the newest first; 0 keeps all.
        save_minutes: also save in the middle of an epoch, this often; 0 never.
        monitor: ``max NAME``, ``min NAME`` or ``off``: what decides which checkpoint is best.
        early_stop: validations without improvement before the run ends; 0 never.
        tensorboard: write event files.
        log_dir: where event files go (``log_dir/name/TIME``); ``None`` puts them into the run folder.
        log_per_iter: optimizer steps between two log points.
        val: validate at all.
        val_per_epochs: epochs between two validations; the last epoch is always validated.
        aux_weight: weight of each auxiliary head's loss.
        clip_grad_norm: largest gradient norm allowed; ``None`` does not clip.
        accumulate_steps: batches whose gradients make one optimizer step.
        ema_decay: decay of an exponential moving average of the weights, which is then evaluated
            and saved too; ``None`` keeps none.
        activation_checkpointing: keep fewer activations; blocks of the model are computed again in the
            backward pass.
    """

    epochs: PositiveInt
    save_dir: str = "saved/"
    save_period: NonNegativeInt = 10
    keep_checkpoints: NonNegativeInt = 0
    save_minutes: NonNegativeInt = 15
    monitor: str = "max Mean_IoU"
    early_stop: NonNegativeInt | None = 0
    tensorboard: bool = True
    log_dir: str | None = None
    log_per_iter: PositiveInt = 20
    val: bool = True
    val_per_epochs: PositiveInt = 1
    aux_weight: Fraction = 0.4
    clip_grad_norm: PositiveFloat | None = None
    accumulate_steps: PositiveInt = 1
    ema_decay: Fraction | None = None
    activation_checkpointing: bool = False


@dataclass(frozen=True)
class Experiment:
    """A whole config.

    Attributes:
        name: names the run folder: letters, digits, ``_``, ``-`` and ``.``.
        arch: the model.
        train_loader: the training data.
        optimizer: the optimizer.
        trainer: how the run goes.
        val_loader: the validation data; ``None`` with ``val_split`` in the training loader.
        loss: a name, or a name with arguments.
        lr_scheduler: ``None`` keeps the learning rate constant.
        n_gpu: GPUs to use; more than one means DataParallel. 0 is the CPU.
        use_synch_bn: batch norm over all GPUs.
        ignore_index: a check only: void is 255 here, mapped to it by each data set.
        class_weights: one number per class, or how to compute them from the training masks.
        init_from: a checkpoint whose weights start the run, matched by name and class name.
        seed: start of every random draw.
        deterministic: refuse operations that give another result at every call.
        precision: ``auto`` is bf16 where the hardware has it, fp16 on older GPUs, else fp32.
        channels_last: memory layout of images and weights.
        compile: use ``torch.compile``.
        num_threads: CPU threads of the main process; ``None`` leaves it to torch.
        tune_allocator: on Linux, keep freed memory for the next step instead of giving it back.
    """

    name: str
    arch: Component
    train_loader: Component
    optimizer: OptimizerSection
    trainer: TrainerSection
    val_loader: Component | None = None
    loss: str | Component = "CrossEntropyLoss2d"
    lr_scheduler: SchedulerSection | None = None
    n_gpu: NonNegativeInt = 1
    use_synch_bn: bool = False
    ignore_index: int = 255
    class_weights: list[PositiveFloat] | Literal["median", "inverse", "effective", "enet"] | None = None
    init_from: str | None = None
    seed: NonNegativeInt = 0
    deterministic: bool = False
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compile: bool = False
    num_threads: PositiveInt | None = None
    tune_allocator: bool = True

    @property
    def loss_component(self) -> Component:
        return Component(self.loss) if isinstance(self.loss, str) else self.loss


def check_section(cls: type, value: Mapping[str, Any], path: str = "") -> list[str]:
    """Every mistake of a section and of the sections in it, one line each with its JSON path."""
    hints = get_type_hints(cls, include_extras=True)
    prefix = f"{path}." if path else ""
    nested = {
        key: section
        for key, item in value.items()
        if isinstance(item, dict) and (section := _section_in(hints.get(key)))
    }
    flat = {key: item for key, item in value.items() if key not in nested}
    problems = check_arguments(cls, flat, path, context=nested, owner=path or "a config")
    problems = [problem.removeprefix(".") for problem in problems]
    for key, section in nested.items():
        problems += check_section(section, value[key], prefix + key)
    return problems


def make_section(cls: type[T], value: Mapping[str, Any]) -> T:
    """Build a section from a value that :func:`check_section` found right."""
    hints = get_type_hints(cls, include_extras=True)
    made = {
        key: make_section(section, item)
        if isinstance(item, dict) and (section := _section_in(hints[key]))
        else item
        for key, item in value.items()
    }
    return cls(**made)


def parse_experiment(config: Mapping[str, Any]) -> Experiment:
    """Check the sections of a config and make an :class:`Experiment` of it.

    Raises:
        ConfigError: with every mistake.
    """
    problems = check_section(Experiment, config)
    if problems:
        raise ConfigError(problems)
    return make_section(Experiment, config)


def _section_in(annotation: Any) -> type | None:
    """The dataclass in an annotation such as ``Component | None``."""
    for choice in (annotation, *get_args(annotation)):
        if isinstance(choice, type) and dataclasses.is_dataclass(choice):
            return choice
    return None
