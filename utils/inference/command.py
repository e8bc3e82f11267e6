"""The command line of inference.py and vote.py, and the work behind it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from utils.predict.arguments import add_model_arguments
from utils.system import cli
from utils.system.cli import require_ranges

if TYPE_CHECKING:
    from utils.predict.ensemble import Ensemble
    from utils.predict.predictor import Predictor

# torch and the packages that import it are imported in functions: --help answers at once


class Load(Protocol):
    """A function that loads the models of a command line."""

    def __call__(
        self, args: argparse.Namespace, *, always_ensemble: bool = False
    ) -> Predictor | Ensemble: ...


def parse_arguments(argv: Sequence[str] | None, description: str, example: str) -> argparse.Namespace:
    """Parse the command line; without arguments, show ``example`` as the way to call the script."""
    if not (sys.argv[1:] if argv is None else argv):
        print(f"error: name the models and the images: {example} (--help: all options)", file=sys.stderr)
        raise SystemExit(2)
    parser = cli.make_parser(description)
    add_model_arguments(parser)
    parser.add_argument("-i", "--images", required=True, help="folder, image, pattern, list (.txt) or video")
    parser.add_argument("-o", "--output", default="outputs", help="folder for the outputs (default: outputs)")
    parser.add_argument(
        "-e", "--extension", default="", help="only these extensions, as in jpg,png (default: all)"
    )
    parser.add_argument(
        "--config", nargs="+", default=[], help="configs that the models must have been trained with"
    )
    parser.add_argument(
        "--overlay", action="store_true", help="also the image blended with the mask, and a legend"
    )
    parser.add_argument("--colour", "--color", action="store_true", help="also the mask as an RGB image")
    parser.add_argument("--original-ids", action="store_true", help="also the mask in the data set's own ids")
    parser.add_argument(
        "--save-probabilities", action="store_true", help="also the probabilities, float16 (C, H, W), as NPZ"
    )
    parser.add_argument(
        "--disagreement",
        action="store_true",
        help="also the share of an ensemble's members that differ, as PNG",
    )
    parser.add_argument("--rle", metavar="FILE", help="also a CSV of run lengths of all masks")
    parser.add_argument("--rle-preset", default="carvana", help="tianchi, carvana (default) or coco")
    parser.add_argument(
        "--rle-class", type=int, default=1, help="class index that --rle encodes (default: 1)"
    )
    parser.add_argument("--skip-existing", action="store_true", help="leave out images whose outputs exist")
    parser.add_argument("--max-pixels", type=int, help="refuse larger images (default: 178,956,970 pixels)")
    return parser.parse_args(argv)


def segment(args: argparse.Namespace, load: Load) -> int:
    """Segment every image, or a video; return 0, or 1 if some images failed.

    Args:
        args: of :func:`parse_arguments`.
        load: called when the images are known to exist.

    Raises:
        DataError: there is no image, or no frame of the video can be read.
        ConfigError: an option does not fit the models.
        CheckpointError: a model cannot be loaded.
        StorageError: an output cannot be written.
    """
    from utils.inference.inputs import VIDEO_EXTENSIONS, find_images
    from utils.inference.job import InferenceJob, JobOptions
    from utils.system.logger import log_to_console

    require_ranges(args, max_pixels=(1, 1e12), rle_class=(0, 254))
    log_to_console()
    images, output = Path(args.images), Path(args.output)
    if images.is_file() and images.suffix.lower().lstrip(".") in VIDEO_EXTENSIONS:
        from utils.inference.video import segment_video

        return segment_video(images, output, load(args), overlay=args.overlay)
    found = find_images(args.images, [part for part in args.extension.split(",") if part], output)
    predictor = load(args, always_ensemble=args.disagreement)
    return InferenceJob(JobOptions.from_arguments(args), predictor, found).run()
