"""Label images by a trained model, to train on them: ``python -m tools.pseudo_label --model RUN --images DIR``."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file, from any folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from utils.config.file import load_config
from utils.errors import ConfigError
from utils.predict.arguments import add_model_arguments
from utils.system import cli

if TYPE_CHECKING:
    from utils.inference.inputs import ImageFile
    from utils.inference.training_folder import TrainingFolder
    from utils.predict.ensemble import Ensemble
    from utils.predict.predictor import Predictor

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and label; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.make_parser("Label images by a trained model, void where it is not sure, to train on them.")
    add_model_arguments(parser)
    add = parser.add_argument
    add("-i", "--images", required=True, help="unlabelled images: folder, image, pattern or list (.txt)")
    add(
        "-o", "--output", type=Path, required=True, help="new folder for images and masks, or one to continue"
    )
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--confidence", type=float, default=0.9, metavar="P",
        help="least probability of a label, 0 to 1 (default: 0.9)")  # fmt: skip
    rule.add_argument("--balanced", type=float, metavar="SHARE",
        help="label this share of each class's pixels, the surest first: a threshold for each class")  # fmt: skip
    add("--labelled", nargs=2, metavar=("IMAGES", "MASKS"),
        help="folders or patterns of labelled images and their masks, which join the pseudo-labels")  # fmt: skip
    add("--mask-suffix", default="", help="end of the labelled masks' names that the images' names lack")
    add("--values", type=int, nargs="+", help="value of each class in the labelled masks (default: indices)")
    add("--void", type=int, nargs="+", help="values of the labelled masks without a class (default: 255)")
    add("-c", "--config", dest="base", help="config whose train_loader the written one replaces")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Label every image; return 0, or 1 if some of them failed."""
    for name in ("confidence", "balanced"):
        cli.require_ranges(args, **{name: (0, 1)})
    if args.balanced == 0:
        raise ConfigError("--balanced 0: labels nothing; a share above 0 is expected")
    config = None if args.base is None else load_config(args.base)
    with cli.naming(args.base or ""):
        kept = {} if config is None else kept_arguments(config)
    from models.trained import predictor_of
    from utils.inference.inputs import find_images
    from utils.inference.labelled import find_pairs, mask_table, without_labelled
    from utils.inference.pseudo_labels import Confidence, PseudoLabelJob
    from utils.inference.training_folder import TrainingFolder
    from utils.system.logger import log_to_console

    log_to_console()
    pairs = find_pairs(args.labelled[0], args.labelled[1], args.mask_suffix) if args.labelled else []
    found = find_images(args.images, (), args.output)
    images = without_labelled(found, pairs)
    if len(images) < len(found):
        logger.info("%d images have labels already: left out", len(found) - len(images))
    predictor = predictor_of(args)
    if predictor.info.num_classes < 2:
        raise ConfigError("--model: a model of a single class cannot label the rest of an image")
    table = mask_table(predictor.info.num_classes, args.values, args.void)
    folder = TrainingFolder(args.output, predictor.info, settings_of(args, predictor, images))
    rule = Confidence(args.confidence, args.balanced)
    code = PseudoLabelJob(folder, predictor, rule, images, pairs, table, kept.get("value_range")).run()
    write_config(folder, config, kept or default_arguments(predictor))
    return code


def settings_of(
    args: argparse.Namespace, predictor: Predictor | Ensemble, images: Sequence[ImageFile]
) -> dict[str, Any]:
    """Return all that the masks follow from, in plain values."""
    from utils.run.find import find_checkpoint
    from utils.system.tensor_file import sha256_of

    members = getattr(predictor, "members", [predictor])
    settings: dict[str, Any] = {
        "models": [sha256_of(find_checkpoint(Path(model))) for model in args.model],
        "classes": list(predictor.info.classes),
        "rule": args.rule,
        "weights": args.weights,
        "prediction": [{**dataclasses.asdict(member.options), "window_batch": None} for member in members],
        "confidence": args.confidence if args.balanced is None else None,
        "balanced": args.balanced,
        "values": args.values,
        "void": args.void,
    }
    if args.balanced is not None:  # the thresholds follow from all images
        settings["images"] = [str(image.relative) for image in images]
    return settings


def write_config(folder: TrainingFolder, config: Mapping[str, Any] | None, kept: Mapping[str, Any]) -> None:
    """Write ``config.json`` beside the images, unless there is one: the training data, or a complete config.

    Args:
        folder: the images and masks.
        config: the config whose ``train_loader`` is replaced.
        kept: arguments of the loader besides those that name its files.

    Raises:
        StorageError: it cannot be written.
    """
    from utils.system.files import write_atomically

    path = folder.path / "config.json"
    if path.exists():
        logger.info("%s: is there already, and stays as it is", path)
        return
    plain: dict[str, Any] = {**(config or {}), "train_loader": folder.section(kept)}
    if config is not None:
        plain["name"] = f"{config.get('name', 'model')}_pseudo"
        if not config.get("val_loader"):
            logger.warning(
                "%s: give it a val_loader; the old config took val_split of its train_loader", path
            )
    text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
    logger.info("Config to train on all images: %s%s", path, "" if config else " (train_loader only)")


def kept_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a config's ``train_loader`` that do not say which files it reads.

    Raises:
        ConfigError: the section is missing or wrong.
    """
    from base import BaseDataLoader
    from dataloaders.build import DATA_SETS, DataSections
    from utils.augment.transform import SampleTransform
    from utils.config.factory import require

    section = DataSections.of(config).train_loader
    if section is None:
        raise ConfigError("train_loader: missing; it says how images are augmented")
    require(DATA_SETS, section, "train_loader")
    known = {"cache", "value_range", "mean", "std", *inspect.signature(BaseDataLoader.__init__).parameters}
    known |= {item.name for item in dataclasses.fields(SampleTransform)}
    return {name: value for name, value in section.args.items() if name in known - {"val_split"}}


def default_arguments(predictor: Predictor | Ensemble) -> dict[str, Any]:
    """Return the arguments of a loader where no config is given: crops of the size that the model knows."""
    member = getattr(predictor, "members", [predictor])[0]
    return {"batch_size": 8, "crop_size": list(member.options.window)}


if __name__ == "__main__":
    sys.exit(main())
