"""Options of augmentation that are objects in a config: mixes of several samples, and random erasing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from utils.config.annotations import Fraction, PositiveFloat
from utils.config.factory import Problem, did_you_mean, join, show
from utils.config.parse import Mistakes, read_section

_NO_MIXUP = (
    "not offered: it blends the pixels of two images, and a target holds one class per pixel; use cutmix"
)


@dataclass(frozen=True)
class Mosaic:
    """Four images, one in each quadrant around a point in the middle half of the sample.

    Bochkovskiy, Wang and Liao, "YOLOv4: Optimal speed and accuracy of object detection", 2020. Every pixel keeps
    its place in its own crop.

    Attributes:
        p: probability.
    """

    p: Fraction = 0.5


@dataclass(frozen=True)
class CutMix:
    """A box of a second image in place of the same box of the first.

    Yun et al., "CutMix: Regularization strategy to train strong classifiers with localizable features", 2019.

    Attributes:
        p: probability.
        area: lowest and highest share of the image that the box covers, before the border cuts it; 0 to 1 is the
            paper's rule for its alpha of 1.
    """

    p: Fraction = 0.5
    area: tuple[Fraction, Fraction] = (0.0, 1.0)


@dataclass(frozen=True)
class ClassPaste:
    """The pixels of a class of a second image, cropped around the class, in place of those of the first.

    As Ghiasi et al., "Simple copy-paste is a strong data augmentation method for instance segmentation", 2021,
    with the pixels of one class for an instance.

    Attributes:
        p: probability.
        classes: names of the classes, of which one is drawn each time; ``rare``: those with fewer pixels
            than the median class.
    """

    p: Fraction = 0.5
    classes: Literal["rare"] | list[str] = "rare"


@dataclass(frozen=True)
class Mixes:
    """The mixes of a training sample, in the order in which they are applied; each is drawn on its own."""

    mosaic: Mosaic | None = None
    cutmix: CutMix | None = None
    class_paste: ClassPaste | None = None

    @property
    def names(self) -> list[str]:
        """Names of the mixes that are not left out."""
        return [name for name, value in vars(self).items() if value is not None]


@dataclass(frozen=True)
class Erasing:
    """A rectangle painted with the mean colour (Zhong et al., "Random erasing data augmentation", 2020).

    Attributes:
        p: probability.
        area: lowest and highest share of the sample that the rectangle covers.
        aspect: lowest and highest ratio of its height to its width.
        target: ``keep`` the classes of the erased pixels, or make them ``void``.
    """

    p: Fraction = 0.5
    area: tuple[Fraction, Fraction] = (0.02, 0.4)
    aspect: tuple[PositiveFloat, PositiveFloat] = (0.3, 3.3)
    target: Literal["keep", "void"] = "keep"


def read_mix(value: Sequence[str] | Mapping[str, Any] | None, path: str, found: Mistakes) -> Mixes:
    """Read ``mix``: a list of names, or an object of probabilities or options by name.

    Args:
        value: as the config has it.
        path: its JSON path.
        found: takes every mistake.
    """
    written = _named(value, path, found) if isinstance(value, Mapping) else _listed(value or (), path, found)
    if found.within(path):
        return Mixes()
    mixes = read_section(Mixes, written, path, found)
    if not found.within(path):
        found.add(_check_mixes(mixes, path))
    return mixes


def read_erase(value: float | Mapping[str, Any] | None, path: str, found: Mistakes) -> Erasing | None:
    """Read ``erase``: a probability, or an object of options; see :func:`read_mix`."""
    if value is None:
        return None
    erasing = read_section(Erasing, _spelt_out(value), path, found)
    if not found.within(path):
        for name in ("area", "aspect"):
            found.add(_check_range(getattr(erasing, name), join(path, name)))
    return erasing


def check_objects(args: Mapping[str, Any], path: str) -> list[str]:
    """Return every mistake in ``mix`` and ``erase``, one line each with its JSON path.

    Args:
        args: the options given, perhaps among others.
        path: JSON path of the object that holds them.
    """
    found = Mistakes()
    if args.get("val"):
        for name in ("mix", "erase"):
            if args.get(name):
                reason = "validation data (val is true) is never augmented"
                found.add([Problem(join(path, name), reason)])
    read_mix(args.get("mix"), join(path, "mix"), found)
    read_erase(args.get("erase"), join(path, "erase"), found)
    return found.problems


def check_mix_classes(classes: Sequence[str], mixes: Mixes, path: str) -> list[str]:
    """Return the mistake of a ``class_paste`` that names no class of the data, as a line.

    Args:
        classes: class names in index order.
        mixes: the mixes.
        path: JSON path of ``mix``.
    """
    wanted = () if mixes.class_paste is None else mixes.class_paste.classes
    unknown = [name for name in wanted if name not in classes] if wanted != "rare" else []
    if not unknown:
        return []
    hint = did_you_mean(unknown[0], classes) or f"; choose from: {', '.join(classes)}"
    return [Problem(f"{path}.class_paste.classes", f"there is no class '{unknown[0]}'{hint}")]


def _named(value: Mapping[str, Any], path: str, found: Mistakes) -> dict[str, Any]:
    """Return the options of each mix of an object."""
    if "mixup" in value:
        found.add([Problem(f"{path}.mixup", _NO_MIXUP)])
    return {name: _spelt_out(item) for name, item in value.items()}


def _listed(value: Sequence[str], path: str, found: Mistakes) -> dict[str, Any]:
    """Return the options of each mix of a list, all by default."""
    names = list(Mixes.__dataclass_fields__)
    for number, name in enumerate(value):
        if name not in names or name in value[:number]:
            found.add([Problem(f"{path}[{number}]", _wrong_name(name, names))])
    return {name: {} for name in value}


def _spelt_out(value: Any) -> Any:
    """Return the object that a probability, or true, stands for."""
    if isinstance(value, bool):
        return {} if value else None
    return {"p": value} if isinstance(value, (int, float)) else value


def _wrong_name(name: str, names: Sequence[str]) -> str:
    if name == "mixup":
        return f"mixup is {_NO_MIXUP}"
    if name in names:
        return f"{show(name)} is there twice"
    return f"there is no {show(name)}{did_you_mean(name, names) or '; choose from: ' + ', '.join(names)}"


def _check_mixes(mixes: Mixes, path: str) -> list[str]:
    problems = _check_range(mixes.cutmix.area, f"{path}.cutmix.area") if mixes.cutmix else []
    if mixes.class_paste and not mixes.class_paste.classes:
        problems.append(Problem(f"{path}.class_paste.classes", "no class is named"))
    return problems


def _check_range(bounds: Sequence[float], path: str) -> list[str]:
    return [] if bounds[0] <= bounds[1] else [Problem(path, f"{bounds[0]:g} to {bounds[1]:g} is no range")]
