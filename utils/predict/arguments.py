"""Command-line options that say which models predict, and how: shared by inference.py, vote.py and evaluate.py."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from utils.errors import ConfigError
from utils.system.cli import require_ranges

if TYPE_CHECKING:
    from utils.predict.options import PredictOptions

# torch is imported in functions: --help answers at once


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    add = parser.add_argument
    add("-m", "--model", nargs="+", required=True,
        help="checkpoint, folder of a run, or exported model (.onnx); several make an ensemble")  # fmt: skip
    add("--rule", choices=("mean", "majority"), default="mean", help="how an ensemble decides")
    add("--weights", type=float, nargs="+", help="one number per member, for the rule mean")
    add("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto")
    add("-d", "--device", help="cpu, cuda, cuda:1, or a GPU number")
    add("--trust", action="store_true",
        help="open .torchscript and .pt2 files, and import classes outside the catalogue that a checkpoint names: "
        "both are programs and may do anything")  # fmt: skip
    add("--no-tune-allocator", action="store_true",
        help="give freed memory back at once (default on Linux CPUs: keep it, which is faster)")  # fmt: skip
    add("--debug", action="store_true", help="show the traceback of an error")
    _add_mode_arguments(parser)


def _add_mode_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--mode", choices=("multiscale", "sliding", "whole"), default="multiscale")
    add("--scales", type=float, nargs="+", help="of multiscale (default: 0.75 1 1.25 1.5 1.75 2)")
    add("--no-flip", action="store_true",
        help="multiscale without mirror images, which are the default if training had them")  # fmt: skip
    add("--tta", nargs="+", metavar="NAME",
        help="transforms to average over: identity hflip vflip rot90 rot180 rot270 transpose")  # fmt: skip
    add("--window", type=int, nargs="+", metavar="PIXELS",
        help="side, or height and width, of sliding windows (default: the training crop)")  # fmt: skip
    add("--window-overlap", type=float, default=1 / 3, help="share of a window (default: 1/3)")
    add("--window-margin", type=int, default=0, help="pixels at inner window edges to discard")
    add("--window-batch", type=int, default=4, help="windows per forward pass (default: 4)")
    add("--max-whole-pixels", type=int, default=2**22, metavar="PIXELS",
        help="windows of multiscale for larger scaled images have this area (default: 4194304)")  # fmt: skip


def predict_options(args: argparse.Namespace) -> PredictOptions:
    """Return the options of a command line.

    Raises:
        ConfigError: a value out of range, or options that contradict each other.
    """
    from utils.predict.options import SCALES, PredictOptions

    require_ranges(
        args,
        weights=(0, 1e6),
        window=(0, 32767),
        window_overlap=(0, 1),
        window_margin=(0, 16383),
        window_batch=(1, 1024),
        max_whole_pixels=(1, 1e12),
    )
    if args.window and len(args.window) > 2:
        raise ConfigError("--window: one or two numbers are expected")
    tta = args.tta or (("identity",) if args.no_flip else None)
    try:
        return PredictOptions(
            mode=args.mode,
            scales=tuple(args.scales or SCALES),
            tta=None if tta is None else tuple(tta),
            window=(args.window[0], args.window[-1]) if args.window else None,
            overlap=args.window_overlap,
            margin=args.window_margin,
            window_batch=args.window_batch,
            max_whole_pixels=args.max_whole_pixels,
        )
    except ValueError as error:
        raise ConfigError(f"--{error}") from None
