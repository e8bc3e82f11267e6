"""The sections of a config, each a dataclass: its fields are the keys, with their types and defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from utils.config.annotations import (
    MAY_CHANGE,
    Fraction,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Range,
    Share,
    Side,
    Threads,
)
from utils.config.factory import Catalogue, Component, Problem
from utils.dataset_info import IGNORE_INDEX

Check = TypeVar("Check", bound=Callable[..., list[str]])


def cross_check(*reads: str) -> Callable[[Check], Check]:
    """Mark a check of keys that depend on each other.

    Args:
        reads: JSON paths of the keys; the check is left out where one of them is wrong in itself.
    """

    def mark(check: Check) -> Check:
        check.reads = reads  # type: ignore[attr-defined]
        return check

    return mark


@dataclass(frozen=True)
class OptimizerSection(Component):
    """Any optimizer of ``torch.optim``.

    Attributes:
        type: a class of ``torch.optim``, or ``package.module.Class``.
        args: arguments of its constructor.
        differential_lr: the backbone learns at the learning rate times ``backbone_lr_factor``.
        backbone_lr_factor: factor of the backbone's learning rate.
        layer_decay: learning rate of a layer over that of the layer after it: blocks of a plain ViT, stages of
            other backbones (heads are the last layer); ``null`` is 1.
        no_decay_norm_bias: no weight decay on normalisation layers and biases.
    """

    differential_lr: bool = False
    backbone_lr_factor: PositiveFloat = 0.1
    layer_decay: Annotated[float, Range(0, 1, exclusive_minimum=True)] | None = None
    no_decay_norm_bias: bool = False


@dataclass(frozen=True)
class SchedulerSection(Component):
    """``Poly``, ``OneCycle``, or any scheduler of ``torch.optim.lr_scheduler``.

    Attributes:
        type: the scheduler.
        args: arguments of its constructor; ``mode`` of ``ReduceLROnPlateau`` is that of ``trainer.monitor``.
        interval: step the scheduler after every optimizer step or after every epoch; ``null`` is what the
            scheduler is made for.
        warmup_epochs: epochs over which the learning rate rises linearly before the scheduler starts
            (``Poly`` and ``OneCycle`` have their own warm-up).
    """

    interval: Literal["step", "epoch"] | None = None
    warmup_epochs: NonNegativeInt = 0


@dataclass(frozen=True)
class TeacherSection:
    """A trained model whose class probabilities are learned beside the labels.

    Attributes:
        model: checkpoint, run folder, or ONNX file of ``export.py``; its classes must be those of the data, in any
            order.
        weight: factor of the divergence from the teacher's probabilities.
        temperature: divisor of both models' logits.
    """

    model: str
    weight: PositiveFloat = 1.0
    temperature: Annotated[float, Range(0.1, 100)] = 2.0


@dataclass(frozen=True)
class TrainerSection:
    """Length, saving, monitoring and logging of a run.

    Attributes:
        epochs: passes over the training data.
        save_dir: folder of all runs; a run goes to ``save_dir/NAME/TIME``.
        save_period: epochs between numbered checkpoints; 0 keeps none.
        keep_checkpoints: numbered checkpoints kept, the newest first; 0 keeps all.
        save_minutes: minutes between saves in the middle of an epoch; 0 never saves there.
        monitor: ``max`` or ``min`` and the figure that decides which checkpoint is best: ``Mean_IoU``,
            ``Mean_Dice``, ``Pixel_Accuracy``, ``Mean_Accuracy``, ``FW_IoU`` or ``loss``, optionally with ``val_``
            or ``train_`` before it; of one class, ``IoU/NAME``, ``Dice/NAME``, ``Precision/NAME`` or
            ``Recall/NAME``, as in ``max val_IoU/car``; or ``off``. ``F1`` is another name of Dice, and
            ``Accuracy/NAME`` of recall.
        early_stop: validations without improvement before the run ends; 0 never ends it.
        tensorboard: write event files.
        log_dir: folder of event files (``log_dir/NAME/TIME``); ``null`` is the run folder.
        log_per_iter: optimizer steps between two log points.
        val: validate at all.
        val_per_epochs: epochs between validations; the last epoch is always validated.
        aux_weight: weight of the loss of each auxiliary head.
        clip_grad_norm: largest norm of the gradients; ``null`` does not clip.
        accumulate_steps: batches whose gradients make one optimizer step.
        effective_batch: images of one optimizer step, ``batch_size`` times ``accumulate_steps``. With
            ``"batch_size": "auto"``, the two follow from it; elsewhere it is a check.
        ema_decay: decay of an exponential moving average of the weights, which is then validated and saved
            too; ``null`` keeps none.
        ema_ramp: let that decay rise over the first steps, as ``min(ema_decay, (1 + t) / (10 + t))`` after ``t``
            steps, so that the average of a short run does not lag behind.
        swa_epochs: epochs at the end of the run whose weights are averaged with equal parts (SWA); from the first
            of them on, the average is validated and saved too, with batch norm's statistics estimated again on
            the training images; 0 averages none.
        bn_momentum: weight of a batch's statistics in the running ones of batch norm; ``null`` is the model's own,
            mostly 0.1.
        bn_freeze_from: share of the run after which batch norm keeps its running statistics and trains its weights
            with them, from the next epoch on; ``null`` never.
        crop_schedule: sides of the training crops in earlier parts of the run: ``[[0.5, 128], [0.8, 192]]`` is 128
            pixels in the epochs that begin in its first half, 192 up to 0.8, then the data set's ``crop_size``.
        activation_checkpointing: train in less memory and more time: blocks of the model are computed again
            in the backward pass.
    """

    epochs: PositiveInt
    save_dir: Annotated[str, MAY_CHANGE] = "saved/"
    save_period: Annotated[NonNegativeInt, MAY_CHANGE] = 10
    keep_checkpoints: Annotated[NonNegativeInt, MAY_CHANGE] = 0
    save_minutes: Annotated[NonNegativeInt, MAY_CHANGE] = 15
    monitor: str = "max Mean_IoU"
    early_stop: NonNegativeInt | None = 0
    tensorboard: Annotated[bool, MAY_CHANGE] = True
    log_dir: Annotated[str | None, MAY_CHANGE] = None
    log_per_iter: Annotated[PositiveInt, MAY_CHANGE] = 20
    val: bool = True
    val_per_epochs: PositiveInt = 1
    aux_weight: Fraction = 0.4
    clip_grad_norm: PositiveFloat | None = None
    accumulate_steps: PositiveInt = 1
    effective_batch: Annotated[PositiveInt | None, MAY_CHANGE] = None  # the two factors are compared
    ema_decay: Annotated[float, Range(0, 0.999999)] | None = None  # at 1 the average stays untrained
    ema_ramp: bool = False
    swa_epochs: NonNegativeInt = 0
    bn_momentum: Share | None = None
    bn_freeze_from: Fraction | None = None
    crop_schedule: list[tuple[Fraction, Side | tuple[Side, Side]]] | None = None
    activation_checkpointing: Annotated[bool, MAY_CHANGE] = False


@dataclass(frozen=True)
class Experiment:
    """A checked config.

    Attributes:
        name: name of the run folder: letters, digits, ``_``, ``-`` and ``.``.
        arch: the model.
        train_loader: the training data.
        optimizer: the optimizer.
        trainer: length, saving, monitoring and logging.
        val_loader: the validation data; ``null`` takes ``val_split`` of the training data.
        allow_overlap: accept image files that are in the training and in the validation data.
        loss: the loss, or its name alone; ``null`` is ``CrossEntropyLoss2d``, and what a model that brings its own
            training loss needs where a base config names another.
        lr_scheduler: the learning-rate schedule; ``null`` keeps the learning rate constant.
        n_gpu: GPUs to use; several are ``DataParallel``, 0 is the CPU; at most those of the machine.
        use_synch_bn: batch norm over all GPUs; not built yet, refused with ``n_gpu`` above 1.
        ignore_index: a check only: each data set maps its void values to 255 itself.
        class_weights: one number per class for the loss, or the rule that computes them from the training masks.
        init_from: a checkpoint whose weights start the run, matched by name and class name.
        teacher: a trained model to learn from (distillation); ``null`` is none.
        seed: start of every random draw.
        deterministic: refuse operations whose result differs from call to call.
        precision: arithmetic; ``auto`` is bf16 where the hardware has it, fp16 on older GPUs, else fp32.
        channels_last: memory layout of images and weights.
        compile: train through ``torch.compile``.
        num_threads: CPU threads of the main process; ``null`` leaves the number to torch.
        tune_allocator: on Linux CPUs, keep freed memory for the next step; the log says when this took effect.
        plain: no key: the values as given; this is what a run saves.
        origins: no key: the file or ``--set`` that each value given comes from, by JSON path.
        catalogues: no key: the classes that each component may name.
    """

    name: str
    arch: Component
    train_loader: Component
    optimizer: OptimizerSection
    trainer: TrainerSection
    val_loader: Component | None = None
    allow_overlap: Annotated[bool, MAY_CHANGE] = False
    loss: Component | None = field(
        default_factory=lambda: Component("CrossEntropyLoss2d"), metadata={"name_alone": True}
    )
    lr_scheduler: SchedulerSection | None = None
    n_gpu: Annotated[NonNegativeInt, MAY_CHANGE] = 1
    use_synch_bn: bool = False
    ignore_index: Annotated[int, MAY_CHANGE] = IGNORE_INDEX
    class_weights: list[PositiveFloat] | Literal["median", "inverse", "effective", "enet"] | None = None
    init_from: str | None = None
    teacher: TeacherSection | None = None
    seed: NonNegativeInt = 0
    deterministic: bool = False
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compile: bool = False
    num_threads: Annotated[Threads | None, MAY_CHANGE] = None
    tune_allocator: Annotated[bool, MAY_CHANGE] = True
    plain: Mapping[str, Any] = field(default_factory=dict, repr=False, metadata={"key": False})
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, metadata={"key": False})
    catalogues: Mapping[str, Catalogue[Any]] = field(
        default_factory=dict, repr=False, metadata={"key": False}
    )

    @cross_check("ignore_index")
    def _void_is_255(self) -> list[str]:
        if self.ignore_index in (IGNORE_INDEX, -1):
            return []
        return [
            Problem(
                "ignore_index",
                f"{self.ignore_index}: each data set maps its void values to {IGNORE_INDEX} itself; "
                f"write {IGNORE_INDEX} or leave the key out",
            )
        ]

    @cross_check("use_synch_bn", "n_gpu")
    def _batch_norm_is_not_synchronised(self) -> list[str]:
        if not self.use_synch_bn or self.n_gpu <= 1:
            return []
        message = "needs one process per GPU, which is not built yet; set it to false, or n_gpu to 1"
        return [Problem("use_synch_bn", message)]

    @cross_check("trainer.activation_checkpointing", "compile")
    def _one_decides_about_activations(self) -> list[str]:
        if not (self.trainer.activation_checkpointing and self.compile):
            return []
        return [
            Problem(
                "trainer.activation_checkpointing",
                "does not go with compile, whose compiler decides itself what is computed again; "
                "set one of the two to false",
            )
        ]

    @cross_check("trainer.val", "val_loader", "train_loader.args.val_split")
    def _validation_has_data(self) -> list[str]:
        if not self.trainer.val or self.val_loader or self.train_loader.args.get("val_split"):
            return []
        message = "missing; give one, or train_loader.args.val_split, or set trainer.val to false"
        return [Problem("val_loader", message)]

    @cross_check("lr_scheduler.warmup_epochs", "trainer.epochs")
    def _warm_up_leaves_epochs(self) -> list[str]:
        warmup = self.lr_scheduler.warmup_epochs if self.lr_scheduler else 0
        if not warmup or warmup < self.trainer.epochs:
            return []
        message = f"{warmup} leaves nothing of trainer.epochs {self.trainer.epochs}"
        return [Problem("lr_scheduler.warmup_epochs", message)]
