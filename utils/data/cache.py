"""Results that are kept between runs: small JSON values, and the decoded images of a data set."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from tqdm import tqdm

from utils.errors import StorageError
from utils.system.files import replacing
from utils.system.threads import map_ahead

Item = tuple[np.ndarray, np.ndarray, str]  # image (H, W, C), label (H, W), name

_VARIABLE = "SEGWRIGHT_CACHE"


def cache_folder() -> Path:
    """Return ``$SEGWRIGHT_CACHE``, else ``segwright`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if os.environ.get(_VARIABLE):
        return Path(os.environ[_VARIABLE])
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path(os.path.expanduser("~")) / ".cache") / "segwright"  # noqa: PTH111


def load_json(kind: str, key: str) -> Any:
    """Return what :func:`save_json` stored; ``None`` where there is nothing, or nothing readable."""
    try:
        return json.loads(_json_path(kind, key).read_text())
    except (OSError, ValueError):
        return None


def save_json(kind: str, key: str, value: Any) -> None:
    """Store ``value`` atomically; a cache that cannot be written is not an error.

    Args:
        kind: beginning of the file's name.
        key: any text; another key is another file.
        value: plain types.
    """
    path = _json_path(kind, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(value))
    except OSError:
        return


class Source(Protocol):
    """A data set whose items can be cached."""

    def __len__(self) -> int: ...

    def load_checked(self, index: int) -> Item: ...

    def fingerprint(self) -> str: ...


def open_cache(kind: Literal["ram", "disk"] | None, source: Source) -> MemoryCache | DiskCache | None:
    """Return the cache that a config names.

    Raises:
        StorageError: the folder of a disk cache cannot be written.
    """
    if kind is None:
        return None
    return MemoryCache(source) if kind == "ram" else DiskCache(source)


class MemoryCache:
    """Items in the memory of this process, read when they are first asked for; shared by threads.

    Attributes:
        source: the data set that reads them.
    """

    def __init__(self, source: Source, indices: Sequence[int] | None = None) -> None:
        self.source = source
        self._indices = range(len(source)) if indices is None else indices
        self._items: dict[int, Item] = {}

    def __getitem__(self, index: int) -> Item:
        number = self._indices[index]
        item = self._items.get(number)
        if item is None:  # two threads may both read it; they get equal items
            item = self._items[number] = self.source.load_checked(number)
        return item

    def part(self, indices: Sequence[int]) -> MemoryCache:
        """Return a cache of some of the items, which shares their memory."""
        part = MemoryCache(self.source, [self._indices[index] for index in indices])
        part._items = self._items
        return part


class DiskCache:
    """Items in one file that every process maps into its memory.

    The file is written atomically: a killed run leaves no incomplete cache, and each of two runs that
    build it at once ends with a complete one.

    Args:
        source: data set to cache. Its fingerprint names the file, so changed data gets another file.
        folder: folder of the file; by default :func:`cache_folder`.

    Raises:
        StorageError: the folder cannot be written.
    """

    def __init__(self, source: Source, folder: Path | None = None) -> None:
        folder = folder or cache_folder()
        self._path = folder / f"images-{_short_hash(source.fingerprint())}.cache"
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
        """Return a cache of some of the items, which maps the same file."""
        part = DiskCache.__new__(DiskCache)
        part.__setstate__({"_path": self._path, "_order": [self._order[index] for index in indices]})
        return part


def _json_path(kind: str, key: str) -> Path:
    return cache_folder() / f"{kind}-{_short_hash(key)}.json"


def _short_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _build(source: Source, path: Path) -> None:
    """Decode all items, several at a time, into one file that ends with its index and the index's length."""
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
    threads = min(8, os.cpu_count() or 1)
    items = map_ahead(source.load_checked, range(len(source)), threads, 2 * threads)
    yield from tqdm(items, total=len(source), desc="Caching images", disable=None)
