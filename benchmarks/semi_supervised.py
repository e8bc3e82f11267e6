"""What unlabelled images are worth: CamVid with a part of its labels, alone, with pseudo-labels, with a teacher.

    python benchmarks/semi_supervised.py --data-dir DATA_DIR [--labelled 90] [--steps 2000]

Three trainings of the same network, with the same augmentation and seed, and as many whole passes over the images
as ``--steps`` optimizer steps need:

* labels alone: ``--labelled`` images, evenly spaced over the training split;
* pseudo-labels: these and the masks that the first network predicts for all others (``tools.pseudo_label``);
* teacher: these and all others without a label, with the first network, or ``--teacher``, as teacher.

Printed are the steps, minutes and mean IoU on the validation split. Everything is written below ``--output``,
which must be new.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

import train
from dataloaders.camvid import CamVidDataSet
from tools import pseudo_label
from utils.config.file import ConfigSource
from utils.errors import ConfigError
from utils.images.read import read_image
from utils.inference.training_folder import TrainingFolder
from utils.system import cli
from utils.system.logger import log_to_console


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train the three and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data-dir", required=True, help="folder of CamVid")
    add("--output", type=Path, default=Path("saved/semi_supervised"), help="new folder for data and runs")
    add("--labelled", type=int, default=90, help="images whose labels are used (default: 90)")
    add("--steps", type=int, default=2000, help="optimizer steps of each training (default: 2000)")
    add("--batch-size", type=int, default=8)
    add("--crop-size", type=int, default=256)
    add("--base-channels", type=int, default=24, help="width of the UNet (default: 24)")
    add(
        "--balanced",
        type=float,
        default=0.5,
        help="share of each class's pixels that is labelled (default: 0.5)",
    )
    add("--teacher", help="checkpoint that labels and teaches (default: the first network)")
    add("--device", default="cpu")
    args = parser.parse_args(argv)
    return cli.run(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Train the three and print the table."""
    log_to_console()
    if args.output.exists():
        raise ConfigError(f"--output {args.output}: exists already; name a new folder")
    cli.require_ranges(args, labelled=(1, 367), steps=(1, 1e6), balanced=(0.01, 1))
    dataset = CamVidDataSet(data_dir=args.data_dir, split="train", val=True)
    chosen = np.linspace(0, len(dataset) - 1, min(args.labelled, len(dataset))).astype(int).tolist()
    labelled = TrainingFolder(args.output / "labelled", dataset.info, {})
    for index in chosen:
        labelled.add(
            PurePath(dataset.files[index].image_id), dataset.files[index].image, dataset.label(index)
        )
    rows = [fit(args, "labels", labelled, len(chosen))]
    teacher = args.teacher or str(args.output / "runs" / "labels")
    rest = [dataset.files[index].image for index in range(len(dataset)) if index not in chosen]
    pseudo = with_pseudo_labels(args, teacher, labelled, rest)
    rows.append(fit(args, "pseudo", pseudo, len(dataset)))
    void = without_labels(args, labelled, rest, dataset)
    rows.append(fit(args, "teacher", void, len(dataset), {"model": teacher}))
    print("| training | images | steps | minutes | val mIoU |\n|---|---|---|---|---|")
    for row in rows:
        print("| {} | {} | {} | {:.1f} | {:.4f} |".format(*row))
    return 0


def with_pseudo_labels(
    args: argparse.Namespace, model: str, labelled: TrainingFolder, rest: Sequence[Path]
) -> TrainingFolder:
    """Label all images but the labelled ones."""
    images = args.output / "unlabelled.txt"
    images.write_text("".join(f"{path.resolve()}\n" for path in rest), encoding="utf-8")
    output, own = args.output / "pseudo", labelled.path
    pairs = ["--labelled", str(own / "images"), str(own / "masks")]
    rule = ["--balanced", str(args.balanced), "--mode", "whole", "-d", args.device]
    code = pseudo_label.main(["-m", model, "-i", str(images), "-o", str(output), *pairs, *rule])
    if code:
        raise SystemExit(code)
    settings = json.loads((output / "pseudo_labels.json").read_text(encoding="utf-8"))["settings"]
    return TrainingFolder(output, labelled.info, settings)


def without_labels(
    args: argparse.Namespace, labelled: TrainingFolder, rest: Sequence[Path], dataset: CamVidDataSet
) -> TrainingFolder:
    """Join the labelled images and all others, which are void everywhere."""
    folder = TrainingFolder(args.output / "void", labelled.info, {})
    for index, sample in enumerate(dataset.files):
        if sample.image in rest:
            void = np.full(read_image(sample.image).shape[:2], 255, np.uint8)
            folder.add(PurePath("void") / sample.image_id, sample.image, void)
        else:
            folder.add(PurePath("labelled") / sample.image_id, sample.image, dataset.label(index))
    return folder


def fit(
    args: argparse.Namespace,
    name: str,
    folder: TrainingFolder,
    images: int,
    teacher: dict[str, Any] | None = None,
) -> tuple[str, int, int, float, float]:
    """Train once: a single epoch of as many passes over the images as the steps need.

    Returns:
        Name, images, optimizer steps, minutes, and mean IoU of the validation.
    """
    repeat = math.ceil(args.steps * args.batch_size / images)
    augmentation = {"base_size": 480, "crop_size": args.crop_size, "scale": [0.6, 1.4], "flip": True}
    loader = {"batch_size": args.batch_size, "repeat": repeat, "drop_last": True, **augmentation}
    val = {"data_dir": args.data_dir, "split": "val", "batch_size": 1, "val": True}
    config = {
        "name": name,
        "arch": {"type": "UNet", "args": {"base_channels": args.base_channels}},
        "train_loader": folder.section({**loader, "num_workers": 1}),
        "val_loader": {"type": "CamVid", "args": val},
        "optimizer": {"type": "AdamW", "args": {"lr": 0.003, "weight_decay": 0.01}},
        "lr_scheduler": {"type": "OneCycle"},
        "trainer": {
            "epochs": 1,
            "save_dir": str(args.output / "runs"),
            "tensorboard": False,
            "save_period": 0,
        },
        "teacher": teacher,
    }
    start = time.perf_counter()
    trainer = train.build_trainer(train.check_experiment(ConfigSource(config)), args.device)
    trainer.train()
    minutes = (time.perf_counter() - start) / 60
    record = json.loads(trainer.run.metrics.read_text(encoding="utf-8").splitlines()[-1])
    trainer.run.close()
    return name, images, trainer.stepper.steps, minutes, record["val"]["Mean_IoU"]


if __name__ == "__main__":
    sys.exit(main())
