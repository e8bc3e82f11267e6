"""Cityscapes: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", 2016."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.config.annotations import MAY_CHANGE
from utils.config.factory import Problem, join, refuse
from utils.data.pairing import list_images, pair_by_key, require_folder

_CLASSES = {  # name: (raw id, colour)
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}


class CityScapesDataSet(BaseDataSet):
    """``leftImg8bit/{split}/CITY/*_leftImg8bit.png`` with ``gtFine/...labelIds.png`` (or ``gtCoarse``).

    Args:
        data_dir: the folder that holds ``leftImg8bit``.
        split: ``train``, ``val`` or ``test``; ``train_extra`` has coarse labels only.
        mode: the annotations to read. ``test`` has none: all void.
        options: those of :class:`~base.base_dataset.BaseDataSet`.
    """

    classes = tuple(_CLASSES)
    palette = tuple(colour for _, colour in _CLASSES.values())
    label_ids = tuple(raw for raw, _ in _CLASSES.values())
    void_values = tuple({*range(34), 255} - {raw for raw, _ in _CLASSES.values()})
    splits = ("train", "val", "test", "train_extra")

    def __init__(
        self,
        data_dir: Annotated[str, MAY_CHANGE],
        split: str,
        mode: Literal["fine", "coarse"] = "fine",
        **options: Any,
    ) -> None:
        refuse(_check_mode(split, mode, ""))
        self.mode = mode
        super().__init__(data_dir, split, **options)

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return also the mistake of a split without annotations of the mode."""
        own = _check_mode(args["split"], args.get("mode", "fine"), path)
        return [*own, *super().check_arguments(args, path)]

    def _set_files(self) -> None:
        require_folder(self.root / "leftImg8bit", "set data_dir to the folder that holds it")
        kind = f"gt{self.mode.capitalize()}"
        for city in sorted(require_folder(self.root / "leftImg8bit" / self.split).iterdir()):
            images = list_images(city, (".png", ".jpg"))
            if self.split == "test":
                self.files += [Sample(path.stem, path, None, city.name) for path in images]
                continue
            folder = require_folder(self.root / kind / self.split / city.name)
            ending = f"_{kind}_labelIds.png"
            masks = [path for path in list_images(folder, (".png",)) if path.name.endswith(ending)]
            # aachen_000000_000019 names a place; the kind of the file follows
            pairs = pair_by_key(images, masks, _place, _place)
            self.files += [Sample(name, image, mask, city.name) for name, image, mask in pairs]


def _check_mode(split: str, mode: str, path: str) -> list[str]:
    if split == "train_extra" and mode == "fine":
        return [Problem(join(path, "split"), "'train_extra' has coarse labels only; set mode to 'coarse'")]
    return []


def _place(path: Path) -> str:
    return path.stem.rsplit("_", 1 if path.stem.endswith("_leftImg8bit") else 2)[0]


class CityScapes(BaseDataLoader):
    """Batches of :class:`CityScapesDataSet`."""

    dataset_class = CityScapesDataSet
