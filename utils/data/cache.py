"""Where results that can be computed again are kept between runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from utils.errors import StorageError
from utils.system.files import replacing

_VARIABLE = "SEGWRIGHT_CACHE"


def cache_folder() -> Path:
    """``$SEGWRIGHT_CACHE``, else ``segwright`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if os.environ.get(_VARIABLE):
        return Path(os.environ[_VARIABLE])
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path(os.path.expanduser("~")) / ".cache") / "segwright"  # noqa: PTH111


def load_json(kind: str, key: str) -> Any:
    """What :func:`save_json` stored; ``None`` where there is nothing, or nothing readable."""
    try:
        return json.loads(_path(kind, key).read_text())
    except (OSError, ValueError):
        return None


def save_json(kind: str, key: str, value: Any) -> None:
    """Store ``value`` in one step; a cache that cannot be written is no error."""
    path = _path(kind, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(value))
    except OSError:
        return


def _path(kind: str, key: str) -> Path:
    return cache_folder() / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


Item = tuple[np.ndarray, np.ndarray, str]  # image (H, W, C), label (H, W), name


class Source(Protocol):
    """What is cached."""

    def __len__(self) -> int: ...

    def load_checked(self, index: int) -> Item: ...

    def fingerprint(self) -> str: ...


class MemoryCache:
    """Items in the memory of this process, read when they are first asked for; shared by threads."""

    def __init__(self, source: Source, indices: Sequence[int] | None = None) -> None:
        self._source = source
        self._indices = range(len(source)) if indices is None else indices
        self._items: dict[int, Item] = {}

    def __getitem__(self, index: int) -> Item:
        number = self._indices[index]
        item = self._items.get(number)
        if item is None:  # two threads may both read it; they get the same
            item = self._items[number] = self._source.load_checked(number)
        return item

    def part(self, indices: Sequence[int]) -> MemoryCache:
        """Some of the items, in the same memory."""
        part = MemoryCache(self._source, [self._indices[index] for index in indices])
        part._items = self._items
        return part


class DiskCache:
    """Items in one file that every process maps into its memory.

    The file is written under another name and renamed when it is whole: a run that is killed leaves no
    half cache, and two runs that build it at once each finish with a whole one.

    Args:
        source: what to cache. Its fingerprint names the file, so a change of the data makes another.
        folder: where the file lies.

    Raises:
        StorageError: the folder cannot be written.
    """

    def __init__(self, source: Source, folder: Path | None = None) -> None:
        folder = folder or cache_folder()
        name = hashlib.sha256(source.fingerprint().encode()).hexdigest()[:32]
        self._path = folder / f"images-{name}.cache"
        if not self._path.is_file():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _build(source, self._path)
            except OSError as error:
                raise StorageError(
                    f"{folder}: the image cache cannot be written: {error.strerror}"
                ) from error
        self._open()
        self._order: Sequence[int] = range(len(self._index))

    def _open(self) -> None:
        with self._path.open("rb") as file:
            file.seek(-8, os.SEEK_END)
            length = int.from_bytes(file.read(8), "little")
            file.seek(-8 - length, os.SEEK_END)
            self._index = json.loads(file.read(length))
        self._bytes = np.memmap(self._path, np.uint8, "r")

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_order": self._order}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __getitem__(self, index: int) -> Item:
        start, shape, name = self._index[self._order[index]]
        height, width, channels = shape
        middle = start + height * width * channels
        image = self._bytes[start:middle].reshape(shape)
        label = self._bytes[middle : middle + height * width].reshape(height, width)
        return image.view(np.ndarray), label.view(np.ndarray), name

    def part(self, indices: Sequence[int]) -> DiskCache:
        """Some of the items, of the same file."""
        part = DiskCache.__new__(DiskCache)
        part.__setstate__({"_path": self._path, "_order": [self._order[index] for index in indices]})
        return part


def open_cache(kind: Literal["ram", "disk"] | None, source: Source) -> MemoryCache | DiskCache | None:
    """The cache that a config names."""
    if kind is None:
        return None
    return MemoryCache(source) if kind == "ram" else DiskCache(source)


def _build(source: Source, path: Path) -> None:
    """Decode everything, several at a time, into one file; its index and that one's length end it."""
    index: list[tuple[int, tuple[int, ...], str]] = []
    position = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        for image, label, name in _load_all(source):
            file.write(np.ascontiguousarray(image).data)
            file.write(np.ascontiguousarray(label).data)
            index.append((position, image.shape, name))
            position += image.size + label.size
        table = json.dumps(index).encode()
        file.write(table + len(table).to_bytes(8, "little"))
        file.flush()
        os.fsync(file.fileno())


def _load_all(source: Source) -> Iterator[Item]:
    from tqdm import tqdm

    from utils.system.threads import map_ahead

    threads = min(8, os.cpu_count() or 1)
    items = map_ahead(source.load_checked, range(len(source)), threads, 2 * threads)
    yield from tqdm(items, total=len(source), desc="Caching images", disable=None)
