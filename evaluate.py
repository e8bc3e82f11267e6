"""Evaluate trained models on a split: ``python evaluate.py --model best_model.pth --split val``."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from utils.errors import ConfigError, DataError, SegwrightError
from utils.predict.arguments import add_model_arguments
from utils.run.find import find_checkpoint
from utils.system import cli

if TYPE_CHECKING:
    import numpy as np

    from base import BaseDataSet
    from utils.data.batch import LabelledImage
    from utils.dataset_info import DatasetInfo
    from utils.evaluation.images import Evaluation
    from utils.predict.ensemble import Ensemble
    from utils.predict.predictor import Predictor
    from utils.report.sheets import ExtremeImages

logger = logging.getLogger(__name__)

# torch and the packages that import it are imported in functions: --help answers at once


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and evaluate; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.make_parser("Evaluate trained models at the images' own resolution.")
    add_model_arguments(parser)
    parser.set_defaults(mode="whole")
    parser.add_argument(
        "--split", help="split of the data set (default: the one that the training validated on)"
    )
    parser.add_argument("--data-dir", help="folder of the data set (default: the one of the training)")
    parser.add_argument("--config", help="take the data set from this config (default: the checkpoint's)")
    parser.add_argument("-o", "--output", help="folder for the report (default: beside the checkpoint)")
    parser.add_argument("--num-workers", type=int, default=1, help="threads that read images (default: 1)")
    parser.add_argument(
        "--no-boundary", action="store_true", help="leave out boundary IoU, the slowest figure"
    )
    parser.add_argument(
        "--save-results", action="store_true",
        help="also write the predictions, in the data set's original ids where it has them",
    )  # fmt: skip
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Predict and compare every image of the split, print the table, write the report."""
    cli.require_ranges(args, num_workers=(0, 1024))
    from dataloaders.build import DataSections, evaluation_dataset
    from models.trained import predictor_of
    from utils.report.evaluation import class_table, write_report
    from utils.system.logger import log_to_console

    log_to_console()
    config, names = _config(args)
    with names:
        dataset = evaluation_dataset(DataSections.of(config), args.split, args.data_dir)
    predictor = predictor_of(argparse.Namespace(**{**vars(args), "config": []}))
    _compare_classes(predictor.info, dataset.info)
    if predictor.info.in_channels == dataset.info.in_channels:
        dataset.normalise_as(predictor.info.normalisation)
    beside = find_checkpoint(Path(args.model[0])).parent
    folder = Path(args.output or beside / f"evaluation_{dataset.split}_{args.mode}")
    start = time.perf_counter()
    evaluation, sheets = evaluate(
        predictor,
        dataset,
        folder / "masks" if args.save_results else None,
        boundaries=not args.no_boundary,
        readers=max(1, args.num_workers),
    )
    if not evaluation.matrix.any():
        raise DataError(f"the split '{dataset.split}' has no labels: there is nothing to compare with")
    write_report(folder, evaluation, _protocol(args, predictor, dataset, time.perf_counter() - start), sheets)
    print(class_table(evaluation))
    low, high = evaluation.interval()
    print(evaluation.metrics().summary)
    print(
        f"95 % of resamples of these {len(evaluation.images)} images have an mIoU of {low:.4f} to {high:.4f}"
    )
    print(f"report: {folder}")
    return 0


def _config(args: argparse.Namespace) -> tuple[dict[str, Any], AbstractContextManager[None]]:
    """Return the config given, or that of the first checkpoint, with the context to read it in."""
    from utils.config.file import load_config
    from utils.export.contract import exported_format
    from utils.run.checkpoint import load_checkpoint
    from utils.run.trust import checkpoint_names

    if args.config:
        return load_config(args.config), nullcontext()
    checkpoints = [path for path in args.model if not exported_format(path)]
    if not checkpoints:
        raise ConfigError(
            f"{args.model[0]}: an exported model names no data set; give the training's --config"
        )
    path = find_checkpoint(Path(checkpoints[0]))
    names = checkpoint_names(checkpoints[0], path, trust=args.trust)
    return load_checkpoint(path).get("config") or {}, names


def evaluate(
    predictor: Predictor | Ensemble,
    dataset: BaseDataSet,
    folder: Path | None = None,
    *,
    boundaries: bool = True,
    readers: int = 1,
) -> tuple[Evaluation, dict[str, ExtremeImages]]:
    """Predict and compare every image of a data set.

    Reading, prediction and comparison overlap. Neither batches nor the number of readers change a figure.

    Args:
        predictor: a model or an ensemble.
        dataset: the images and their masks.
        folder: folder for the predictions, in original ids where the data set has them; ``None`` writes none.
        boundaries: compute boundary IoU.
        readers: threads that read images.

    Returns:
        The counts, and drawings of the ``worst`` and the ``best`` images.

    Raises:
        SegwrightError: an image or its mask cannot be read, or a prediction cannot be written.
    """
    from tqdm import tqdm

    from base.base_dataset import SampleKey
    from utils.system.threads import run_overlapped

    comparison = _Comparison(dataset.info, folder, boundaries)

    def fail(number: int, error: SegwrightError) -> None:
        raise error  # a figure over some of the images would be a wrong figure

    with tqdm(total=len(dataset), unit="image", disable=None) as progress:

        def compare(number: int, result: tuple[LabelledImage, np.ndarray]) -> None:
            comparison.add(*result)
            progress.update()

        run_overlapped(
            range(len(dataset)),
            read=lambda number: dataset.load(SampleKey(0, number)),
            work=lambda number, sample: (sample, predictor.predict(sample.image)),
            write=compare,
            fail=fail,
            readers=readers,
        )
    return comparison.evaluation, comparison.sheets


class _Comparison:
    """Counts and drawings of the images compared so far."""

    def __init__(self, info: DatasetInfo, folder: Path | None, boundaries: bool) -> None:
        from utils.evaluation.images import Evaluation
        from utils.inference.outputs import ResultWriter
        from utils.report.sheets import ExtremeImages

        self.info = info
        self.boundaries = boundaries
        self.evaluation = Evaluation(info)
        self.sheets = {name: ExtremeImages(info, worst=name == "worst") for name in ("worst", "best")}
        kind = "ids" if info.label_ids else "mask"
        self.writer = None if folder is None else ResultWriter(folder, info, [kind])

    def add(self, sample: LabelledImage, prediction: np.ndarray) -> None:
        from utils.evaluation.images import count_image
        from utils.inference.outputs import ImagePrediction

        image, target, image_id = sample
        counts = count_image(image_id, prediction, target, self.info.num_classes, boundaries=self.boundaries)
        self.evaluation.add(counts)
        for sheet in self.sheets.values():
            sheet.add(counts.mean_iou, image_id, image, target, prediction)
        if self.writer is not None:
            self.writer.write(PurePath(image_id), image, ImagePrediction(prediction))


def _compare_classes(model: DatasetInfo, data: DatasetInfo) -> None:
    if model.num_classes < 2:
        raise ConfigError("a model of one class cannot be evaluated: there is nothing to tell apart")
    if model.classes != data.classes:
        raise ConfigError(
            f"the model's classes ({', '.join(model.classes[:5])}, ...) are not those of the data set "
            f"({', '.join(data.classes[:5])}, ...)"
        )


def _protocol(
    args: argparse.Namespace, predictor: Any, dataset: BaseDataSet, seconds: float
) -> dict[str, Any]:
    """Return how the figures were computed, for the report."""
    members = getattr(predictor, "members", [predictor])
    options = members[0].options
    return {
        "models": [Path(path).name for path in args.model],
        "data_set": type(dataset).__name__,
        "split": dataset.split,
        "images": len(dataset),
        "resolution": "original",
        "mode": options.mode,
        "scales": list(options.scales) if options.mode == "multiscale" else [1.0],
        "tta": list(options.tta or ()),
        "window": list(options.window) if options.mode != "whole" else None,
        "overlap": options.overlap,
        "rule": args.rule if len(members) > 1 else None,
        "precision": members[0].precision.name,
        "absent_classes": "not counted in means",
        "seconds": round(seconds, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
