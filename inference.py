"""Segment images with a trained model: ``python inference.py --model best_model.pth --images photos``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils import cli
from utils.errors import CheckpointError, ConfigError, DataError

if TYPE_CHECKING:
    from utils.predict import Predictor

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and segment; returns the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Segment images with a trained model.")
    parser.add_argument("-m", "--model", required=True, help="checkpoint, or the folder of a run")
    parser.add_argument("-i", "--images", required=True, nargs="+", help="folders, files or globs")
    parser.add_argument(
        "--mode", choices=("multiscale", "sliding", "whole"), default="multiscale",
        help="multiscale: several sizes and their mirror images (default)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", default="outputs", help="folder for the masks (default: outputs)")
    parser.add_argument("-e", "--extension", help="in folders, only files that end so: jpg")
    parser.add_argument("-c", "--config", help="a config that the model is checked against")
    parser.add_argument("--overlay", action="store_true", help="also blend each mask into its image")
    parser.add_argument("--scales", type=float, nargs="+", help="of multiscale (default: 0.75 to 2)")
    parser.add_argument("--no-flip", action="store_true", help="multiscale without mirror images")
    parser.add_argument("--window", type=int, nargs="+", help="side, or height and width, of windows")
    parser.add_argument("--overlap", type=float, default=0.5, help="of neighbouring windows (default: 0.5)")
    parser.add_argument("--batch-size", type=int, default=4, help="windows in one pass (default: 4)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto")
    parser.add_argument("-d", "--device", help="cpu, cuda, cuda:1")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Segment every image; returns 1 if some could not be."""
    from utils.inputs import find_images

    jobs = find_images(args.images, args.extension)
    from utils.logger import log_to_console

    log_to_console()
    predictor = build_predictor(args)
    failed = segment_all(predictor, jobs, args)
    logger.info("%d of %d images segmented into %s", len(jobs) - len(failed), len(jobs), args.output)
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


def build_predictor(args: argparse.Namespace) -> Predictor:
    """Load the model and choose windows, scales and arithmetic.

    Raises:
        CheckpointError: no such checkpoint, damaged, or not of the config's architecture.
        ConfigError: an option out of range.
    """
    import torch

    from models.build import model_from_checkpoint
    from utils.allocator import keep_freed_memory
    from utils.checkpoint import load_checkpoint
    from utils.device import resolve_device
    from utils.precision import resolve_precision
    from utils.predict import SCALES, Predictor

    device = resolve_device(args.device)
    precision = resolve_precision(args.precision, device)
    if device.type == "cpu":
        keep_freed_memory()
    checkpoint = load_checkpoint(find_checkpoint(Path(args.model)))
    check_config(args.config, checkpoint)
    model, info = model_from_checkpoint(checkpoint)
    window = args.window or checkpoint.get("crop_size")
    if isinstance(window, int):
        window = [window]
    try:
        return Predictor(
            model.to(device, memory_format=torch.channels_last),
            info,
            device,
            precision,
            window=None if window is None else (int(window[0]), int(window[-1])),
            overlap=args.overlap,
            scales=args.scales or SCALES,
            flip=not args.no_flip,
            batch_size=args.batch_size,
        )
    except ValueError as error:
        raise ConfigError(f"--{error}") from error


def find_checkpoint(path: Path) -> Path:
    """A file as it is; of a run's folder, or of a folder of runs, the newest ``best_model.pth``."""
    if not path.is_dir():
        return path
    found = [*path.glob("best_model.pth"), *path.glob("*/best_model.pth")]
    if not found:
        raise CheckpointError(f"--model {path}: there is no best_model.pth in this folder")
    return max(found, key=lambda file: file.stat().st_mtime_ns)


def check_config(config: str | None, checkpoint: dict) -> None:
    """Refuse a config that describes another model than the checkpoint holds."""
    if config is None:
        return
    from utils.config import load_config

    wanted, held = load_config(config).get("arch", {}), checkpoint["arch"]
    if isinstance(wanted, dict) and wanted.get("type") != held["type"]:
        raise CheckpointError(f"{config}: arch.type is {wanted.get('type')}, the checkpoint's {held['type']}")


def segment_all(
    predictor: Predictor, jobs: Sequence[tuple[Path, Path]], args: argparse.Namespace
) -> list[str]:
    """Write a mask per image; returns a line for each image that failed."""
    from tqdm import tqdm

    from utils.image_io import read_image
    from utils.outputs import save_mask, save_picture
    from utils.visualize import overlay

    info, output, failed = predictor.info, Path(args.output), []
    for path, name in tqdm(jobs, unit="image", disable=None):
        try:
            image = read_image(path, info.in_channels, info.fill_colour, exif_transpose=True)
        except DataError as error:
            failed.append(str(error))
            continue
        label = predictor.labels(image, args.mode)
        save_mask(label, info, output / name)
        if args.overlay:
            save_picture(overlay(image, label, info), output / name.with_name(f"{name.stem}_overlay.png"))
    return failed


if __name__ == "__main__":
    sys.exit(main())
