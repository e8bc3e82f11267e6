"""Train a model that a config describes: ``python train.py --config config.json``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.config.file import apply_overrides, load_config
from utils.config.smp_form import translate
from utils.errors import ConfigError
from utils.system import cli

if TYPE_CHECKING:
    from base import BaseDataLoader, BaseModel
    from trainer import Trainer
    from utils.config.sections import Experiment
    from utils.dataset_info import DatasetInfo
    from utils.losses import BaseLoss

logger = logging.getLogger(__name__)

# torch and everything on top of it are imported in the functions below: --help and a broken config
# file must answer at once


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and train; returns the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a segmentation model from one config file.")
    parser.add_argument("-c", "--config", help="config file (default: config.json)")
    parser.add_argument(
        "-r", "--resume", metavar="PATH|auto",
        help="continue a run: its folder, one of its checkpoints, or auto for the newest of this name",
    )  # fmt: skip
    parser.add_argument("-d", "--device", help="cpu, cuda, cuda:1, or GPU numbers: 0,1")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change a key of the config",
    )
    parser.add_argument("--check", action="store_true", help="do everything up to the first step, then exit")
    parser.add_argument("--plot-lr", metavar="FILE.png", help="draw the learning rates of the run, then exit")
    parser.add_argument(
        "--allow-change",
        action="store_true",
        help="resume although the config differs from the run's",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Read the config, build every part once, hand them to the trainer."""
    config: dict[str, Any] | None = None
    notes: list[str] = []
    if args.config or args.resume in (None, "auto"):
        config, notes = translate(load_config(args.config or "config.json"))
        config = apply_overrides(config, args.set)
    from utils.system.logger import log_to_console

    log_to_console()
    for note in notes:
        logger.info("%s", note)
    folder, checkpoint, config = find_start(args, config)
    with cli.naming(args.config or ("config.json" if folder is None else str(folder))):
        check(config)
        if args.plot_lr:
            return plot_learning_rates(config, args.plot_lr)
        trainer = build_trainer(config, args.device, folder, check_only=args.check)
    if checkpoint is not None:
        trainer.load_state_dict(checkpoint)
    if args.check:
        from utils.training.dry_run import dry_run

        dry_run(trainer)
    else:
        trainer.train()
    return 0


def find_start(
    args: argparse.Namespace, config: dict[str, Any] | None
) -> tuple[Path | None, dict[str, Any] | None, dict[str, Any]]:
    """Where the run starts: its folder and checkpoint (None for a new run), and its config."""
    if args.resume is None:
        return None, None, config or {}
    from utils.run.resume import find_run, load_resumed, refuse_changes

    folder = find_run(args.resume, config)
    if folder is None:
        logger.info("--resume auto: no run of this name to continue; starting a new one")
        return None, None, config or {}
    checkpoint = load_resumed(args.resume, folder)
    if config is None:
        config = apply_overrides(checkpoint["config"], args.set)
    if not args.allow_change:
        refuse_changes(checkpoint["config"], config)
    return folder, checkpoint, config


def check(config: dict[str, Any]) -> None:
    """Check the whole config against the signatures it names.

    Raises:
        ConfigError: with every mistake, before anything is built.
    """
    import dataloaders
    import models
    from base import BaseDataLoader, BaseModel
    from utils.training.check_config import check_config

    problems = check_config(
        config,
        dataloaders=dataloaders,
        loader_kind=BaseDataLoader,
        models=models,
        model_kind=BaseModel,
    )
    if problems:
        raise ConfigError(problems)


def build_trainer(
    config: dict[str, Any],
    device: str | None = None,
    folder: Path | None = None,
    *,
    check_only: bool = False,
) -> Trainer:
    """Build every part of a checked config, in the order in which each needs the one before.

    Args:
        config: the config.
        device: the command line's ``--device``.
        folder: the run to continue; ``None`` makes a new folder.
        check_only: the new folder is removed when the process ends.

    Raises:
        ConfigError: a part refused its arguments.
        DataError: the data is not as it should be.
        StorageError: the run folder cannot be written.
    """
    import torch

    from models.build import build_model
    from trainer import Trainer
    from utils.config.sections import parse_experiment
    from utils.run.folder import open_run
    from utils.system.device import resolve_devices
    from utils.system.precision import resolve_precision
    from utils.training.optimizer import build_optimizer
    from utils.training.process import prepare_machine, versions
    from utils.training.schedule import build_schedule

    experiment = parse_experiment(config)
    options = experiment.trainer
    devices = resolve_devices(device, experiment.n_gpu)
    precision = resolve_precision(experiment.precision, devices[0])
    prepare_machine(experiment, devices, precision)
    train_loader, val_loader = build_loaders(config, experiment)
    layout = torch.channels_last if experiment.channels_last else torch.contiguous_format
    model = build_model(config["arch"], train_loader.info).to(memory_format=layout).to(devices[0])
    start_from(experiment, model, train_loader.info)
    optimizer = build_optimizer(experiment.optimizer, model)
    steps_per_epoch = -(-len(train_loader) // options.accumulate_steps)
    schedule = build_schedule(experiment.lr_scheduler, optimizer, options.epochs, steps_per_epoch)
    criterion = build_criterion(experiment, train_loader).to(devices[0])
    describe(model, train_loader, val_loader)
    crop_size = train_loader.dataset.crop_size
    return Trainer(
        model=model,
        criterion=criterion,
        optimizer=optimizer,
        schedule=schedule,
        train_loader=train_loader,
        val_loader=val_loader,
        options=options,
        run=open_run(options.save_dir, experiment.name, config, folder, temporary=check_only),
        devices=devices,
        precision=precision,
        carried={
            "arch": config["arch"],
            "config": config,
            "crop_size": crop_size,
            "versions": versions(),
        },
        channels_last=experiment.channels_last,
        compile_model=experiment.compile,
    )


def plot_learning_rates(config: dict[str, Any], path: str) -> int:
    """Draw the learning rates of a whole run: the data is counted, the model built, nothing trained."""
    from models.build import build_model
    from utils.config.sections import parse_experiment
    from utils.report.learning_rates import draw_rates, learning_rates, rates_of_groups
    from utils.training.optimizer import build_optimizer

    experiment = parse_experiment(config)
    epochs = experiment.trainer.epochs
    train_loader, _ = build_loaders(config, experiment)
    model = build_model(config["arch"], train_loader.info)
    optimizer = rates_of_groups(build_optimizer(experiment.optimizer, model))
    steps = -(-len(train_loader) // experiment.trainer.accumulate_steps)
    draw_rates(learning_rates(experiment.lr_scheduler, optimizer, epochs, steps), epochs, path)
    logger.info("%d epochs of %d steps: %s", epochs, steps, path)
    return 0


def describe(model: BaseModel, train_loader: BaseDataLoader, val_loader: BaseDataLoader | None) -> None:
    """Say in the log what will be trained on what."""
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    logger.info(
        "%s: %.2f M parameters, %.2f M of them trained", type(model).__name__, total / 1e6, trainable / 1e6
    )
    loaders = {"Training": train_loader, "Validation": val_loader}
    for name, loader in loaders.items():
        if loader is not None:
            logger.info("%s: %d images in %d batches", name, len(loader.dataset), len(loader))
    names = train_loader.info.classes
    shown = ", ".join(names[:25]) + (", ..." if len(names) > 25 else "")
    logger.info("%d classes: %s", len(names), shown)


def build_loaders(
    config: dict[str, Any], experiment: Experiment
) -> tuple[BaseDataLoader, BaseDataLoader | None]:
    """The training data, and the validation data: a loader of its own or a split of the training data."""
    import dataloaders
    from base import BaseDataLoader
    from utils.config.factory import build

    train_loader = build(
        dataloaders, BaseDataLoader, config["train_loader"], "train_loader", seed=experiment.seed
    )
    if not experiment.trainer.val:
        return train_loader, None
    if experiment.val_loader is None:
        return train_loader, train_loader.get_val_loader()
    val_loader = build(dataloaders, BaseDataLoader, config["val_loader"], "val_loader", seed=experiment.seed)
    if val_loader.info.classes != train_loader.info.classes:
        raise ConfigError("val_loader: its classes are not those of train_loader")
    return train_loader, val_loader


def build_criterion(experiment: Experiment, train_loader: BaseDataLoader) -> BaseLoss:
    """The loss, with the data set's classes and void value and the config's class weights."""
    from inspect import signature

    from utils import losses
    from utils.config.factory import build, find
    from utils.dataset_info import IGNORE_INDEX
    from utils.losses import BaseLoss

    info, weights = train_loader.info, experiment.class_weights
    if isinstance(weights, str):
        from utils.data.class_weights import compute_class_weights

        weights = compute_class_weights(weights, train_loader.dataset, info)
    if weights is not None and len(weights) != info.num_classes:
        raise ConfigError(
            f"class_weights: {len(weights)} numbers for {info.num_classes} classes ({', '.join(info.classes)})"
        )
    loss = experiment.loss_component
    spec = {"type": loss.type, "args": loss.args}
    if (
        weights is not None
        and "weight" not in signature(find(losses, BaseLoss, loss.type, "loss")).parameters
    ):
        raise ConfigError(f"class_weights: {loss.type} takes none; leave the key out")
    context: dict[str, Any] = {"ignore_index": IGNORE_INDEX, "num_classes": info.num_classes}
    if weights is not None:
        context["weight"] = weights
    return build(losses, BaseLoss, spec, "loss", **context)


def start_from(experiment: Experiment, model: BaseModel, info: DatasetInfo) -> None:
    """Load the weights of ``init_from``, if the config names a checkpoint."""
    if experiment.init_from is not None:
        from utils.run.checkpoint import load_any
        from utils.training.finetune import load_matching

        load_matching(model, load_any(experiment.init_from), info)


if __name__ == "__main__":
    sys.exit(main())
