"""Command-line options of train.py that continue a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_resume_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    add = parser.add_argument
    add("-r", "--resume", metavar="PATH|auto", help="run folder or checkpoint to continue; auto: the newest")
    add("--extend", type=int, metavar="EPOCHS", help="with --resume: train to this epoch, the rest as before")
    add("--allow-change", action="store_true",
        help="with --resume: keys of the config that differ take effect, or are refused by name")  # fmt: skip


def parse_run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line with the options of :func:`add_resume_arguments` and ``--set``."""
    args = parser.parse_args(argv)
    if args.extend is not None:
        if args.resume is None:
            parser.error("--extend lengthens a run; name it with --resume")
        args.set.append(f"trainer.epochs={args.extend}")
    return args


def given_options(args: argparse.Namespace) -> list[str]:
    """Return the options of a command line that made its config: ``--config``, ``--set``."""
    return [f"--{name}" for name in ("config", "set") if getattr(args, name)]
