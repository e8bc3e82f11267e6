"""Look at a folder of images and masks and write a config for it: ``python init_config.py FOLDER``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import ConfigError
from utils.system import cli

if TYPE_CHECKING:
    from utils.survey.defaults import Recipe
    from utils.survey.probe import Findings

_VAL_SHARE = 0.2


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and write the config; returns the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Find the images and masks below a folder, see what the masks hold, and write a config."
    )
    parser.add_argument("folder", type=Path, help="folder that holds the images and the masks")
    parser.add_argument("-o", "--output", type=Path, help="config to write (default: FOLDER's name.json)")
    parser.add_argument("--classes", help="class names in the order of the values found, separated by commas")
    parser.add_argument("--epochs", type=int, help="epochs to train (default: enough for a first model)")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in args.folder.resolve().name) or "data"
    output: Path = args.output or Path(f"{name}.json")
    if output.exists() and not args.force:
        raise ConfigError(f"{output}: exists; choose another --output, or add --force")
    from utils.survey.probe import probe

    found = probe(args.folder)
    names = None if args.classes is None else [part.strip() for part in args.classes.split(",")]
    config, labels = make_config(found, args.folder, name, args.epochs, names)
    output.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    print(describe(found, config, labels))
    print(f"\nWrote {output}. Next:\n  python check_data.py --config {output}")
    print(f"  python train.py --config {output}")
    print(f"  python inference.py --model saved/{config['name']} --images YOUR_IMAGES --overlay")
    return 0


def make_config(
    found: Findings, folder: Path, name: str, epochs: int | None, names: list[str] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A whole config, and the part of it that says what mask values mean."""
    from utils.survey.defaults import choose_recipe, middle_size

    labels = propose_labels(found, names)
    recipe = choose_recipe(
        found.sizes,
        found.names,
        shares(found, labels),
        found.channels,
        0.0 if found.splits else _VAL_SHARE,
        found.thickness,
    )
    data = _data_options(found, folder, labels, recipe)
    train_split, val_split = found.splits or ("train", "val")
    epochs = epochs or recipe.epochs
    train = {**data, "split": train_split, **recipe.train_options(max(middle_size(found.sizes)))}
    val = {**data, "split": val_split, "batch_size": 1 if len(set(found.sizes)) > 1 else 4, "val": True}
    config: dict[str, Any] = {
        "name": f"UNet_{name}",
        "n_gpu": 1,
        "arch": {"type": "UNet", "args": {"base_channels": 16 if len(labels["classes"]) == 2 else 32}},
        "train_loader": {"type": "Folder", "args": {**train, "num_workers": 2}},
        "val_loader": {"type": "Folder", "args": {**val, "num_workers": 2}},
        "optimizer": {"type": "AdamW", "args": {"lr": 0.003, "weight_decay": 0.01}},
        "loss": recipe.loss,
        "lr_scheduler": {"type": "OneCycle", "args": {}},
        "trainer": {
            "epochs": epochs, "save_dir": "saved/", "monitor": "max Mean_IoU", "early_stop": 0,
            "tensorboard": True, "val": True, "val_per_epochs": max(epochs // 12, 1),
        },
    }  # fmt: skip
    if recipe.class_weights:
        config["class_weights"] = recipe.class_weights
    return config, labels


def _data_options(found: Findings, folder: Path, labels: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """What both loaders are told about the files."""
    data: dict[str, Any] = {"data_dir": str(folder), "images": found.images, "masks": found.masks}
    if found.image_suffix:
        data["image_suffix"] = found.image_suffix
    if found.mask_suffix:
        data["mask_suffix"] = found.mask_suffix
    data |= labels
    if found.channels != 3:
        data["channels"] = found.channels
    if not found.splits:
        data["val_fraction"] = _VAL_SHARE
        if recipe.group:
            data["group"] = recipe.group
    if recipe.cache:
        data["cache"] = recipe.cache
    return data


def propose_labels(found: Findings, names: list[str] | None) -> dict[str, Any]:
    """What the values of the masks mean: ``classes`` with ``values`` and ``void``, or with ``colors``."""
    values: list[Any] = sorted(found.counts)
    void: list[int] = []
    if not found.colour_masks:
        if len(values) > 2 and values[-1] == 255:  # alone beside 0 it is the foreground
            void, values = [255], values[:-1]
        if 2 * len(values) > values[-1] + 1:  # most indices are there: the others are rare, not unused
            values = list(range(values[-1] + 1))
    if names is None:
        names = (
            ["background", "foreground"] if len(values) == 2 else [f"class_{i}" for i in range(len(values))]
        )
    if len(names) != len(values):
        raise ConfigError(f"--classes: {len(names)} names for the {len(values)} values found: {values}")
    if found.colour_masks:
        return {"classes": names, "colors": [list(colour) for colour in values], "color_masks": True}
    labels: dict[str, Any] = {"classes": names}
    if values != list(range(len(values))):
        labels["values"] = values
    return labels | ({"void": void} if void else {})


def shares(found: Findings, labels: dict[str, Any]) -> list[float]:
    """Share of each class among the labelled pixels."""
    values = [tuple(colour) for colour in labels.get("colors", ())] or labels.get("values")
    known: dict[Any, int] = dict(found.counts)
    counts = [known.get(value, 0) for value in values or range(len(labels["classes"]))]
    return [count / max(sum(counts), 1) for count in counts]


def describe(found: Findings, config: dict[str, Any], labels: dict[str, Any]) -> str:
    """What was found, for people."""
    args = config["train_loader"]["args"]
    lines = [
        f"{len(found.pairs)} pairs: images in {found.images}, masks in {found.masks}"
        + (f" (names end in '{found.mask_suffix}')" if found.mask_suffix else "")
    ]
    if found.unpaired:
        lines.append(f"WARNING: {len(found.unpaired)} images have no mask, such as {found.unpaired[0]}")
    lines += [f"WARNING: {text}" for text in found.unreadable[:3]]
    values = labels.get("colors") or labels.get("values") or list(range(len(labels["classes"])))
    for name, value, share in zip(labels["classes"], values, shares(found, labels), strict=True):
        lines.append(f"  mask value {value!s:<16} -> {name:<12} {share:7.2%} of the labelled pixels")
    lines += [f"  mask value {value!s:<16} -> void" for value in labels.get("void", ())]
    passes = config["trainer"]["epochs"] * args.get("repeat", 1)
    lines.append(
        f"Crop {args['crop_size']}, batch {args['batch_size']}, channels {found.channels}, "
        f"{config['trainer']['epochs']} epochs ({passes} passes over the images), {config['loss']}."
    )
    splits = (
        f"folders {found.splits[0]} and {found.splits[1]}"
        if found.splits
        else "one fifth kept for validation"
    )
    if "group" in args:
        splits += f", images whose names agree in {args['group']} together"
    lines.append(f"Splits: {splits}." + (" Classes are weighted." if "class_weights" in config else ""))
    if "foreground" in labels["classes"] or "class_0" in labels["classes"]:
        lines.append("Class names are made up: change them in the file, or give --classes.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
