"""Lists of pairs that are written beside a config, where no pattern names the images and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from utils.errors import DataError
from utils.survey.candidates import FolderPairs

EXAMPLE = (
    "list the pairs in a file, with lines such as 'images/7.jpg masks/0007.png', and name it in list_file"
)


def pair_lists(found: FolderPairs, root: Path, output: Path) -> tuple[str | None, dict[Path, str]]:
    """Return the ``list_file`` of a config, and the files to write.

    Args:
        found: pairs of a folder.
        root: the folder.
        output: path of the config, which the lists go beside.

    Returns:
        The option, with ``{split}`` where validation images have a list of their own, ``None`` without lists; and
        the text of each list by its path.

    Raises:
        DataError: a file name cannot stand in a list.
    """
    if not found.listed:
        return None, {}
    if not found.val_pairs:
        path = output.with_name(f"{output.stem}_pairs.txt")
        return str(path), {path: _text(found.pairs, root)}
    option = output.with_name(f"{output.stem}_{{split}}.txt")
    pairs = {"train": found.pairs, "val": found.val_pairs}
    paths = {split: output.with_name(f"{output.stem}_{split}.txt") for split in pairs}
    return str(option), {paths[split]: _text(pairs[split], root) for split in pairs}


def _text(pairs: Sequence[tuple[Path, Path]], root: Path) -> str:
    return "".join("\t".join(_entry(file, root) for file in pair) + "\n" for pair in pairs)


def _entry(file: Path, root: Path) -> str:
    """Return a path as a list holds it.

    Raises:
        DataError: the path would not be read back.
    """
    text = file.relative_to(root).as_posix()
    if text != text.strip() or not text.isprintable():
        message = f"{file}: its pair has to be listed, but a list cannot hold this name; rename the file"
        raise DataError(message, kind="unsuitable", paths=[file])
    return text
