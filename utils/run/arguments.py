"""Command-line options of train.py: those that continue a run, and those that look at one before it starts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from utils.errors import ConfigError

_INSTEAD = ("check", "print_config", "plot_lr", "find_lr", "estimate")
_OF_A_RUN = ("resume", "extend", "allow_change")  # which --find-lr does not read


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of train.py to a parser."""
    add = parser.add_argument
    add("-c", "--config", help="config file (default: config.json)")
    _add_resume_arguments(parser)
    add("-d", "--device", help="cpu, cuda, cuda:1, or GPU numbers: 0,1")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a key of the config")
    _add_trial_arguments(parser)
    add("--trust", action="store_true", help="import classes outside the catalogue that a checkpoint names")
    add("--debug", action="store_true", help="show the traceback of an error")


def _add_resume_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that continue a run to a parser."""
    add = parser.add_argument
    add("-r", "--resume", metavar="PATH|auto", help="run folder or checkpoint to continue; auto: the newest")
    add("--extend", type=int, metavar="EPOCHS", help="with --resume: train to this epoch, the rest as before")
    add("--allow-change", action="store_true",
        help="with --resume: keys of the config that differ take effect, or are refused by name")  # fmt: skip


def _add_trial_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that look at a run instead of training it; nothing of them is kept."""
    add = parser.add_argument
    add("--check", action="store_true", help="try two steps, a validation and a checkpoint, keep nothing")
    add(
        "--estimate",
        action="store_true",
        help="say how long the run will take and how much memory, then exit",
    )
    add("--find-lr", action="store_true",
        help="range test: train at rising learning rates, suggest one, draw the losses, then exit")  # fmt: skip
    add("-o", "--output", metavar="FILE.png", help="with --find-lr: the picture (default: find_lr.png)")
    add("--print-config", action="store_true", help="print the config, each value with its origin, then exit")
    add("--plot-lr", metavar="FILE.png", help="draw the learning rates of the run, then exit")


def parse_run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line with the options of :func:`add_run_arguments`.

    ``is_trial`` says whether a trainer is tried of which nothing is kept.
    """
    args = parser.parse_args(argv)
    args.is_trial = args.find_lr or args.estimate
    if args.extend is not None:
        if args.resume is None:
            parser.error("--extend lengthens a run; name it with --resume")
        args.set.append(f"trainer.epochs={args.extend}")
    return args


def refuse_contradictions(args: argparse.Namespace) -> None:
    """Refuse options that exclude each other.

    Raises:
        ConfigError: naming two of them.
    """
    instead = [_option(name) for name in _INSTEAD if _is_given(args, name)]
    if len(instead) > 1:
        raise ConfigError(f"{instead[0]} and {instead[1]}: each runs instead of a training; give one of them")
    of_a_run = [_option(name) for name in _OF_A_RUN if _is_given(args, name)]
    if args.find_lr and of_a_run:
        raise ConfigError(f"--find-lr and {of_a_run[0]}: the range test starts from the weights of a new run")
    if args.output is not None and not args.find_lr:
        raise ConfigError("--output: it names the picture of --find-lr; a run goes to trainer.save_dir")


def given_options(args: argparse.Namespace) -> list[str]:
    """Return the options of a command line that made its config: ``--config``, ``--set``."""
    return [f"--{name}" for name in ("config", "set") if getattr(args, name)]


def _is_given(args: argparse.Namespace, name: str) -> bool:
    return getattr(args, name) not in (None, False)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
