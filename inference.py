"""Segment images with trained models: ``python inference.py --model best_model.pth --images photos``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import CheckpointError, ConfigError
from utils.system import cli

if TYPE_CHECKING:
    from utils.predict.ensemble import Ensemble
    from utils.predict.options import PredictOptions
    from utils.predict.predictor import Predictor

logger = logging.getLogger(__name__)

# torch and what stands on it are imported in the functions below: --help must answer at once


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and segment; returns the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None, description: str | None = None) -> argparse.Namespace:
    """The command line of inference.py and vote.py."""
    parser = argparse.ArgumentParser(description=description or "Segment images with trained models.")
    add_model_arguments(parser)
    parser.add_argument("-i", "--images", required=True, help="folder, image, pattern, list (.txt) or video")
    parser.add_argument("-o", "--output", default="outputs", help="folder for the results (default: outputs)")
    parser.add_argument(
        "-e", "--extension", default="", help="only these endings, as in jpg,png (default: all)"
    )
    parser.add_argument(
        "--config", nargs="+", default=[], help="configs that the models must have been trained with"
    )
    parser.add_argument(
        "--overlay", action="store_true", help="also the image with the mask over it and a legend"
    )
    parser.add_argument("--colour", "--color", action="store_true", help="also the mask as an RGB image")
    parser.add_argument("--original-ids", action="store_true", help="also the mask in the data set's own ids")
    parser.add_argument(
        "--save-probabilities", action="store_true", help="also the probabilities, float16 (C, H, W), as NPZ"
    )
    parser.add_argument(
        "--disagreement", action="store_true", help="also where the members of an ensemble differ"
    )
    parser.add_argument("--rle", metavar="FILE", help="also a CSV of run lengths of all masks")
    parser.add_argument("--rle-preset", default="carvana", help="tianchi, carvana (default) or coco")
    parser.add_argument(
        "--rle-class", type=int, default=1, help="class index that --rle encodes (default: 1)"
    )
    parser.add_argument(
        "--skip-existing", action="store_true", help="leave out images whose results are there"
    )
    parser.add_argument("--max-pixels", type=int, help="refuse larger images (default: 178,956,970 pixels)")
    return parser.parse_args(argv)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """What inference.py, vote.py and evaluate.py have in common: models and how they predict."""
    parser.add_argument(
        "-m", "--model", nargs="+", required=True,
        help="checkpoint, folder of a run, or exported model (.onnx); several make an ensemble",
    )  # fmt: skip
    parser.add_argument(
        "--rule", choices=("mean", "majority"), default="mean", help="how an ensemble decides"
    )
    parser.add_argument("--weights", type=float, nargs="+", help="one number per member, for the rule mean")
    parser.add_argument("--mode", choices=("multiscale", "sliding", "whole"), default="multiscale")
    parser.add_argument(
        "--scales", type=float, nargs="+", help="of multiscale (default: 0.75 1 1.25 1.5 1.75 2)"
    )
    parser.add_argument("--no-flip", action="store_true", help="multiscale without mirror images")
    parser.add_argument(
        "--tta", nargs="+", metavar="NAME",
        help="transforms to average over: identity hflip vflip rot90 rot180 rot270 transpose",
    )  # fmt: skip
    parser.add_argument(
        "--window", type=int, nargs="+", metavar="PIXELS",
        help="side, or height and width, of sliding windows (default: the training crop)",
    )  # fmt: skip
    parser.add_argument(
        "--window-overlap", type=float, default=1 / 3, help="share of a window (default: 1/3)"
    )
    parser.add_argument(
        "--window-margin", type=int, default=0, help="pixels at inner window edges to discard"
    )
    parser.add_argument("--window-batch", type=int, default=4, help="windows per forward pass (default: 4)")
    parser.add_argument(
        "--max-whole-pixels", type=int, default=2**22, metavar="PIXELS",
        help="a larger scaled image of multiscale goes through in windows of this area (default: 4194304)",
    )  # fmt: skip
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto")
    parser.add_argument("-d", "--device", help="cpu, cuda, cuda:1, or a GPU number")
    parser.add_argument(
        "--trust", action="store_true",
        help="open .torchscript and .pt2 files too: they are programs and may do anything",
    )  # fmt: skip
    parser.add_argument(
        "--no-tune-allocator", action="store_true",
        help="give freed memory back at once (default on Linux CPUs: keep it for the next image, which is faster)",
    )  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run(args: argparse.Namespace) -> int:
    """Segment every image; 0 if all went well, 1 if some did not."""
    from utils.inference.inputs import VIDEO_EXTENSIONS, find_images
    from utils.inference.job import InferenceJob, JobOptions
    from utils.system.logger import log_to_console

    log_to_console()
    output = Path(args.output)
    if Path(args.images).is_file() and Path(args.images).suffix.lower().lstrip(".") in VIDEO_EXTENSIONS:
        from utils.inference.video import segment_video

        return segment_video(Path(args.images), output, load_predictor(args), overlay=args.overlay)
    images = find_images(args.images, [part for part in args.extension.split(",") if part], output)
    return InferenceJob(JobOptions.from_arguments(args), load_predictor(args), images).run()


def load_predictor(args: argparse.Namespace) -> Predictor | Ensemble:
    """The model, or the ensemble of the models, of a command line.

    Raises:
        CheckpointError: a checkpoint cannot be used.
        ConfigError: options that contradict each other.
    """
    from utils.predict.ensemble import Ensemble
    from utils.system.allocator import keep_freed_memory
    from utils.system.device import resolve_device
    from utils.system.precision import resolve_precision

    configs = getattr(args, "config", [])
    if configs and len(configs) != len(args.model):
        raise ConfigError(f"--config: {len(configs)} for {len(args.model)} models; give one each, or none")
    if args.weights and len(args.model) == 1:
        raise ConfigError("--weights: there is one model only; weights are for the members of an ensemble")
    device = resolve_device(args.device)
    if device.type == "cpu" and not args.no_tune_allocator:
        keep_freed_memory()
    precision = resolve_precision(args.precision, device)
    members = []
    for number, path in enumerate(args.model):
        members.append(_load_member(args, path, configs[number] if configs else None, device, precision))
    single = len(members) == 1 and not getattr(args, "disagreement", False)
    return members[0] if single else Ensemble(members, args.rule, args.weights)


def _load_member(
    args: argparse.Namespace, path: str, config: str | None, device: Any, precision: Any
) -> Predictor:
    from models.build import model_from_checkpoint
    from utils.export.contract import exported_format
    from utils.predict.predictor import Predictor
    from utils.run.checkpoint import load_checkpoint

    path = str(find_checkpoint(Path(path)))
    if exported_format(path):
        return _load_exported(args, path, config, device)
    checkpoint = load_checkpoint(path)
    if config is not None:
        _compare(config, checkpoint.get("arch"), path)
    with naming(path):
        model, info = model_from_checkpoint(checkpoint)
    options = predict_options(args, checkpoint.get("crop_size"))
    return Predictor(model, info, device, precision, options)


def _load_exported(args: argparse.Namespace, path: str, config: str | None, device: Any) -> Predictor:
    """A member that export.py wrote; it computes in float32, whatever the others do."""
    from utils.export.load import load_exported
    from utils.predict.predictor import Predictor
    from utils.system.precision import Precision

    model, facts = load_exported(path, device, trust=args.trust)
    if config is not None:
        _compare(config, dict(facts.arch), path)
    if args.precision in ("bf16", "fp16"):
        logger.warning("%s: an exported model computes in fp32, not in %s", path, args.precision)
    options = predict_options(args, facts.crop_size)
    return Predictor(model, facts.info, device, Precision("fp32", device.type), options)


def find_checkpoint(path: Path) -> Path:
    """A file as it is; in a run's folder, or in a folder of runs, the newest ``best_model.pth``.

    Raises:
        CheckpointError: the folder holds none.
    """
    if not path.is_dir():
        return path
    found = [*path.glob("best_model.pth"), *path.glob("*/best_model.pth")]
    if not found:
        raise CheckpointError(f"--model {path}: there is no best_model.pth in this folder")
    return max(found, key=lambda file: file.stat().st_mtime_ns)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the checkpoint's name before what is wrong with it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _compare(config: str, arch: Any, path: str) -> None:
    """Checkpoints carry their config; one that is given as well must name the same model."""
    from utils.config.file import load_config

    if load_config(config).get("arch") != arch:
        raise ConfigError(f"{config}: arch is not the one that {path} was trained with; leave --config out")


def predict_options(args: argparse.Namespace, crop_size: Any) -> PredictOptions:
    """The command line's way of predicting; ``crop_size`` is the training crop or None."""
    from utils.predict.options import DEFAULT_WINDOW, SCALES, PredictOptions

    if args.window:
        if len(args.window) > 2:
            raise ConfigError("--window: one or two numbers are expected")
        window = (args.window[0], args.window[-1])
    elif crop_size is None:
        window = (DEFAULT_WINDOW, DEFAULT_WINDOW)
    else:
        window = (crop_size, crop_size) if isinstance(crop_size, int) else (crop_size[0], crop_size[1])
    flip = args.mode == "multiscale" and not args.no_flip
    tta = args.tta or (("identity", "hflip") if flip else ("identity",))
    try:
        return PredictOptions(
            mode=args.mode,
            scales=tuple(args.scales or SCALES),
            tta=tuple(tta),
            window=window,
            overlap=args.window_overlap,
            margin=args.window_margin,
            window_batch=args.window_batch,
            max_whole_pixels=args.max_whole_pixels,
        )
    except ValueError as error:
        raise ConfigError(f"--{error}") from None


if __name__ == "__main__":
    sys.exit(main())
