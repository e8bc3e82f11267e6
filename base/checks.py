"""Checks of a data set's facts and arguments that read no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from utils.augment.options import check_mix_classes, read_mix
from utils.config.factory import Problem, join
from utils.config.parse import Mistakes
from utils.dataset_info import swapped_classes

_NOT_OF_VALIDATION = {
    "val_split": "it divides training data; this is validation data (val is true)",
    "repeat": "validation data (val is true) is the same at every pass",
    "sampler": "validation data (val is true) is read once, in order",
}


def check_split(splits: Sequence[str], split: str, path: str) -> list[str]:
    """Return the mistake of a split that is not among ``splits``, as a line with its JSON path."""
    if split in splits:
        return []
    return [Problem(join(path, "split"), f"there is no '{split}'; choose from: {', '.join(splits)}")]


def check_classes(classes: Sequence[str], path: str) -> list[str]:
    """Return the mistake of a single class, as a line with its JSON path."""
    if len(classes) != 1:
        return []
    reason = (
        f'a single class cannot be learned; put the background first: ["background", "{classes[0]}"] '
        "(arch.args.num_classes: 1 then separates the two by one logit)"
    )
    return [Problem(join(path, "classes"), reason)]


def check_class_names(classes: Sequence[str], args: Mapping[str, Any], path: str) -> list[str]:
    """Return the mistakes of ``flip_pairs`` and ``mix`` that name no class, one line each with its JSON path.

    Args:
        classes: the class names; empty where only the files tell them: the data set then checks when it is opened.
        args: the arguments of the data set.
        path: JSON path of the object that holds them.
    """
    if not classes:
        return []
    place, found = join(path, "mix"), Mistakes()
    mixes = read_mix(args.get("mix"), place, found)
    problems = [] if found.problems else check_mix_classes(classes, mixes, place)
    try:
        swapped_classes(classes, args.get("flip_pairs") or ())
    except ValueError as error:
        problems.append(Problem(join(path, "flip_pairs"), str(error).removeprefix("flip_pairs: ")))
    return problems


def check_loader_options(args: Mapping[str, Any], path: str) -> list[str]:
    """Return every contradiction between a loader's options, one line each with its JSON path."""
    part = args.get("val_split") or 0
    given = {"val_split": part, "repeat": args.get("repeat", 1) > 1, "sampler": args.get("sampler")}
    found = {name: why for name, why in _NOT_OF_VALIDATION.items() if args.get("val") and given[name]}
    if "val_split" not in found and 1 < part != int(part):
        found["val_split"] = f"{part:g} is neither a share below 1 nor a whole number of images"
    if args.get("sampler_threshold") is not None and not args.get("sampler"):
        found["sampler_threshold"] = "it has no effect without sampler"
    if args.get("num_workers") and (args.get("cache"), args.get("worker_type")) == ("ram", "process"):
        found["cache"] = "'ram' is shared by threads only; use 'disk' with worker processes"
    return [Problem(join(path, name), reason) for name, reason in found.items()]
