"""Train a model that a config describes: ``python train.py --config config.json``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.config.file import ConfigSource, read_config
from utils.run.arguments import add_run_arguments, parse_run, refuse_contradictions
from utils.system import cli

if TYPE_CHECKING:
    from trainer import Trainer
    from utils.config.sections import Experiment

logger = logging.getLogger(__name__)
# torch and the packages that import it are imported in functions: --help and a broken config file answer at once


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and train; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.make_parser("Train a segmentation model from one config file.")
    add_run_arguments(parser)
    return parse_run(parser, argv)


def run(args: argparse.Namespace) -> int:
    """Read the config, build every part once, hand them to the trainer."""
    refuse_contradictions(args)
    given = args.config or (args.resume in (None, "auto") and "config.json")
    source = read_config(given, args.set) if given else None
    from utils.config.printing import annotated
    from utils.run.branch import branch_off, older_state
    from utils.run.start import find_start
    from utils.system.logger import log_to_console
    from utils.training.continuation import continue_run
    from utils.training.dry_run import dry_run

    log_to_console()
    experiment, folder, checkpoint = find_start(args, source, check_experiment)
    if args.print_config:
        print(annotated(experiment))
        return 0
    with cli.naming(args.config or ("config.json" if folder is None else str(folder))):
        if args.plot_lr is not None:
            return plot_learning_rates(experiment, args.plot_lr)
        if args.is_trial:
            return try_out(args, experiment, checkpoint)
        origin = older_state(args.resume, folder, checkpoint)
        trainer = build_trainer(experiment, args.device, None if origin else folder, args.check, checkpoint)
    if checkpoint is not None:
        continue_run(trainer, checkpoint, experiment)
    if args.check:
        dry_run(trainer)
    else:
        branch_off(trainer.run, origin, checkpoint)
        trainer.train()
    return 0


def try_out(args: argparse.Namespace, experiment: Experiment, checkpoint: Mapping[str, Any] | None) -> int:
    """Search the learning rate, or estimate the run, on a trainer of which nothing is kept."""
    from utils.report.range_test import report_range_test
    from utils.run.scratch import in_scratch
    from utils.training.continuation import continue_run
    from utils.training.estimate import report_estimate

    report = report_estimate if args.estimate else partial(report_range_test, output=args.output)
    with in_scratch(experiment) as trial:
        trainer = build_trainer(trial, args.device, check_only=True, checkpoint=checkpoint)
        if checkpoint is not None:
            continue_run(trainer, checkpoint, experiment)
        report(trainer, experiment)
    return 0


def read_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and check a config file with ``key.path=value`` overrides; a ConfigError names every mistake."""
    return check_experiment(read_config(path, overrides))


def check_experiment(source: ConfigSource) -> Experiment:
    """Check a config against the signatures that it names; nothing is built.

    Raises:
        ConfigError: with every mistake.
    """
    from dataloaders.build import DATA_SETS
    from models.build import MODELS, with_resolved_arch
    from utils.config.parse import parse_experiment
    from utils.training.check_config import CATALOGUES, CHECKS

    for note in source.notes:
        logger.info("%s", note)
    catalogues = CATALOGUES | {"arch": MODELS, "train_loader": DATA_SETS, "val_loader": DATA_SETS}
    return with_resolved_arch(parse_experiment(source, catalogues, CHECKS))


def build_trainer(
    experiment: Experiment, device: str | None = None, folder: Path | None = None, check_only: bool = False,
    checkpoint: Mapping[str, Any] | None = None) -> Trainer:  # fmt: skip
    """Build every part of an experiment, in the order in which each needs the one before.

    Args:
        experiment: the checked config.
        device: as the command line's ``--device``.
        folder: the run folder to continue; ``None`` creates one.
        check_only: remove the new folder when the process ends.
        checkpoint: the state that the run will continue from, whose version and normalisation it keeps.

    Raises:
        ConfigError: a part refused its arguments.
        DataError, StorageError: the data is not as it should be, or the run folder cannot be written.
    """
    from dataloaders.build import build_loaders
    from models.build import recorded_version
    from models.start import start_model
    from models.teacher import load_teacher
    from trainer import Trainer
    from utils.losses.build import build_criterion
    from utils.run.folder import open_run
    from utils.training.fit_batch import fit_batch
    from utils.training.optimizer import build_optimizer
    from utils.training.process import prepare_process, versions
    from utils.training.schedule import build_schedule, steps_of_epoch
    from utils.training.summary import log_summary

    experiment = fit_batch(experiment, partial(build_trainer, device=device, check_only=True))
    options, plain, process = experiment.trainer, experiment.plain, prepare_process(experiment, device)
    train_loader, val_loader = build_loaders(experiment)
    model = start_model(experiment, train_loader, val_loader, checkpoint)
    model = model.to(memory_format=process.layout).to(process.device)
    optimizer = build_optimizer(experiment.optimizer, model)
    steps = steps_of_epoch(train_loader, options.accumulate_steps)
    schedule = build_schedule(experiment.lr_scheduler, optimizer, options.epochs, steps, options.monitor)
    criterion = build_criterion(experiment, train_loader.info, train_loader.dataset).to(process.device)
    log_summary(model, train_loader, val_loader)
    carried = {"architecture_version": recorded_version(experiment.arch, checkpoint), "versions": versions()}
    carried |= {**train_loader.dataset.transform.facts, "arch": plain["arch"], "config": plain}
    teacher = load_teacher(experiment, train_loader.info, process.device, checkpoint)
    run = open_run(options.save_dir, experiment.name, plain, folder, temporary=check_only)
    return Trainer(
        model=model, criterion=criterion, optimizer=optimizer, schedule=schedule, train_loader=train_loader,
        val_loader=val_loader, options=options, run=run, devices=process.devices, precision=process.precision,
        carried=carried, channels_last=experiment.channels_last, compile_model=experiment.compile, teacher=teacher,
    )  # fmt: skip


def plot_learning_rates(experiment: Experiment, path: str) -> int:
    """Draw the learning rates of a run: the data is counted, the model built, nothing fetched or trained."""
    from dataloaders.build import build_loaders
    from models.build import build_untrained
    from utils.config.auto_batch import is_auto, with_batch
    from utils.report.learning_rates import plot_run

    if is_auto(experiment):
        experiment = with_batch(experiment, 1)  # as many steps as with any other
    train_loader = build_loaders(experiment)[0]
    plot_run(experiment, build_untrained(experiment.arch, train_loader.info), train_loader, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
