"""Checks of a data set's facts and arguments that read no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from utils.config.factory import Problem, join
from utils.dataset_info import swapped_classes


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


def check_pairs(classes: Sequence[str], args: Mapping[str, Any], path: str) -> list[str]:
    """Return the mistake of ``flip_pairs`` that name no class, as a line with its JSON path.

    Args:
        classes: the class names; empty where only the files tell them: the data set then checks when it is opened.
        args: the arguments of the data set.
        path: JSON path of the object that holds them.
    """
    try:
        swapped_classes(classes, (args.get("flip_pairs") or ()) if classes else ())
    except ValueError as error:
        return [Problem(join(path, "flip_pairs"), str(error).removeprefix("flip_pairs: "))]
    return []
