"""Proposes a config for a folder of images and masks, and describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.data.pairing import name_some
from utils.dataset_info import IGNORE_INDEX
from utils.errors import ConfigError
from utils.survey.defaults import TrainingDefaults, choose_defaults, middle_size
from utils.survey.network import NetworkChoice, Wanted, choose_network
from utils.survey.probe import FolderFindings

_VAL_SHARE = 0.2


def make_config(
    found: FolderFindings,
    folder: Path,
    name: str,
    epochs: int | None = None,
    names: list[str] | None = None,
    list_file: str | None = None,
    network: NetworkChoice | None = None,
) -> dict[str, Any]:
    """Return a complete config for a folder.

    Args:
        found: contents of the folder.
        folder: its path, for the config.
        name: end of the config's name.
        epochs: epochs to train; ``None`` takes the default for the data.
        names: class names in the order of the mask values; ``None`` invents them.
        list_file: the list of the pairs, in place of patterns.
        network: the network; ``None`` takes that of :func:`propose_network`.

    Raises:
        ConfigError: the number of names is not that of the values.
    """
    labels = propose_labels(found, names)
    defaults = choose_defaults(
        found.sizes,
        found.names,
        class_shares(found, labels),
        found.channels,
        0.0 if found.splits or found.val_pairs else _VAL_SHARE,
        found.thickness,
    )
    train, val = _loader_options(found, _place_options(found, folder, list_file), labels, defaults)
    epochs = epochs or defaults.epochs
    network = network or propose_network(found)
    config: dict[str, Any] = {
        "name": f"{network.arch['type']}_{name}",
        "n_gpu": 1,
        "arch": network.arch,
        "train_loader": {"type": "Folder", "args": {**train, "num_workers": 2}},
        "val_loader": {"type": "Folder", "args": {**val, "num_workers": 2}},
        "optimizer": network.optimizer,
        "loss": defaults.loss,
        "lr_scheduler": {"type": "OneCycle", "args": {}},
        "trainer": {
            "epochs": epochs, "save_dir": "saved/", "monitor": "max Mean_IoU", "early_stop": 0,
            "tensorboard": True, "val": True, "val_per_epochs": max(epochs // 12, 1),
        },
    }  # fmt: skip
    return config | ({"class_weights": defaults.class_weights} if defaults.class_weights else {})


def propose_network(found: FolderFindings, wanted: Wanted = "auto") -> NetworkChoice:
    """Return the network for a folder.

    Args:
        found: contents of the folder.
        wanted: the network that the user asks for, see :func:`choose_network`.

    Raises:
        ConfigError: a pretrained network is asked for, and a package that it needs is not installed.
    """
    classes = len(propose_labels(found)["classes"])
    return choose_network(wanted, classes, found.channels, found.thickness, found.extent is not None)


def propose_labels(found: FolderFindings, names: list[str] | None = None) -> dict[str, Any]:
    """Return options that give the mask values a meaning.

    Args:
        found: contents of the folder.
        names: class names in the order of the values; ``None`` invents them.

    Returns:
        ``classes`` with ``values`` and ``void`` where they are needed, or with ``colors``.

    Raises:
        ConfigError: the number of names is not that of the values.
    """
    if found.colour_masks:
        colours = sorted(value for value in found.counts if isinstance(value, tuple))
        names = _check_names(names, colours)
        return {"classes": names, "colors": [list(colour) for colour in colours], "color_masks": True}
    values, void = _split_void(sorted(value for value in found.counts if isinstance(value, int)))
    labels: dict[str, Any] = {"classes": _check_names(names, values)}
    if values != list(range(len(values))):
        labels["values"] = values
    return labels | ({"void": void} if void else {})


def class_shares(found: FolderFindings, labels: Mapping[str, Any]) -> list[float]:
    """Return the share of each class among the labelled pixels.

    Args:
        found: contents of the folder.
        labels: the options of :func:`propose_labels`; others are ignored.
    """
    counts = [found.counts.get(value, 0) for value in _values_of(labels)]
    return [count / max(sum(counts), 1) for count in counts]


def describe_proposal(found: FolderFindings, config: Mapping[str, Any]) -> str:
    """Return the contents of a folder and the config for it as text for people."""
    args = config["train_loader"]["args"]
    lines = [_describe_pairs(found, args.get("list_file"))]
    if found.unpaired:
        effect = "they are not listed and not used" if found.listed else "train.py refuses them"
        lines.append(
            f"WARNING: {len(found.unpaired)} images have no mask, such as {found.unpaired[0]}; {effect}"
        )
    if found.left_out:
        lines.append(
            f"WARNING: {len(found.left_out)} other image files below the folder are not used: "
            f"{name_some(found.left_out)}"
        )
    lines += [f"WARNING: {message}" for message in found.unreadable[:3]]
    if len(found.unreadable) > 3:
        lines.append(f"WARNING: {len(found.unreadable) - 3} more files like these")
    if found.extent and found.value_range:
        low, high = found.extent
        lines.append(f"16-bit images hold values of {low}..{high}: value_range is {list(found.value_range)}")
    lines += _describe_labels(found, args)
    epochs = config["trainer"]["epochs"]
    lines.append(
        f"Crop {args['crop_size']}, batch {args['batch_size']}, channels {found.channels}, "
        f"{epochs} epochs ({epochs * args.get('repeat', 1)} passes over the images), {config['loss']}."
    )
    weighted = " Classes are weighted." if "class_weights" in config else ""
    lines.append(f"Splits: {_describe_splits(found, args)}.{weighted}")
    if args["classes"] == _invent_names(len(args["classes"])):
        lines.append("Class names are made up: change them in the file, or give --classes.")
    return "\n".join(lines)


def _describe_pairs(found: FolderFindings, list_file: str | None) -> str:
    if list_file is not None:
        image, mask = found.pairs[0]
        validation = f" and {len(found.val_pairs)} for validation" if found.val_pairs else ""
        return f"{len(found.pairs)} pairs{validation} are listed in {list_file}: the first is {image} with {mask}"
    ending = f" (names end in '{found.mask_suffix}')" if found.mask_suffix else ""
    return f"{len(found.pairs)} pairs: images in {found.images}, masks in {found.masks}{ending}"


def _describe_labels(found: FolderFindings, args: Mapping[str, Any]) -> list[str]:
    values = args.get("colors") or args.get("values") or range(len(args["classes"]))
    classes = zip(args["classes"], values, class_shares(found, args), strict=True)
    return [
        f"  mask value {value!s:<16} -> {name:<12} {share:7.2%} of the labelled pixels"
        for name, value, share in classes
    ] + [f"  mask value {value!s:<16} -> void" for value in args.get("void", ())]


def _describe_splits(found: FolderFindings, args: Mapping[str, Any]) -> str:
    splits = f"folders {' and '.join(found.splits)}" if found.splits else "one fifth kept for validation"
    splits = "lists train and val" if found.val_pairs else splits
    return splits + (f", images whose names agree in {args['group']} together" if "group" in args else "")


def _loader_options(
    found: FolderFindings, place: Mapping[str, Any], labels: Mapping[str, Any], defaults: TrainingDefaults
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of the training and of the validation loader."""
    data = _data_options(found, place, labels, defaults)
    train_split, val_split = found.splits or ("train", "val")
    train = {**data, "split": train_split, **defaults.train_options(max(middle_size(found.sizes)))}
    val = {**data, "split": val_split, "batch_size": 1 if len(set(found.sizes)) > 1 else 4, "val": True}
    return train, val


def _place_options(found: FolderFindings, folder: Path, list_file: str | None) -> dict[str, Any]:
    """Return the arguments that say where the pairs are: a list, or patterns and endings."""
    if list_file is not None:
        return {"data_dir": str(folder), "list_file": list_file}
    place = {"data_dir": str(folder), "images": found.images, "masks": found.masks}
    endings = {"image_suffix": found.image_suffix, "mask_suffix": found.mask_suffix}
    return place | {name: ending for name, ending in endings.items() if ending}


def _data_options(
    found: FolderFindings, place: Mapping[str, Any], labels: Mapping[str, Any], defaults: TrainingDefaults
) -> dict[str, Any]:
    """Return the arguments that both loaders share."""
    data: dict[str, Any] = {**place, **labels}
    if found.channels != 3:
        data["channels"] = found.channels
    if found.value_range:
        data["value_range"] = list(found.value_range)
    if not found.splits and not found.val_pairs:
        data["val_fraction"] = _VAL_SHARE
        if defaults.group:
            data["group"] = defaults.group
    if defaults.cache:
        data["cache"] = defaults.cache
    return data


def _split_void(values: list[int]) -> tuple[list[int], list[int]]:
    """Return the values of classes and of void."""
    void = []
    if len(values) > 2 and values[-1] == IGNORE_INDEX:  # beside 0 alone it is the foreground
        void, values = values[-1:], values[:-1]
    if 2 * len(values) > values[-1] + 1:  # most indices occur: the others are rare, not unused
        values = list(range(values[-1] + 1))
    return values, void


def _check_names(names: list[str] | None, values: Sequence[Any]) -> list[str]:
    if names is None:
        return _invent_names(len(values))
    if len(names) != len(values):
        raise ConfigError(f"--classes: {len(names)} names for the {len(values)} values found: {values}")
    return names


def _invent_names(count: int) -> list[str]:
    return ["background", "foreground"] if count == 2 else [f"class_{index}" for index in range(count)]


def _values_of(labels: Mapping[str, Any]) -> Sequence[Any]:
    """Return the mask value of each class, or its colour as a tuple."""
    if "colors" in labels:
        return [tuple(colour) for colour in labels["colors"]]
    return labels.get("values") or range(len(labels["classes"]))
