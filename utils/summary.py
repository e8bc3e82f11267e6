"""What an inference run found, for the person or the script that comes after it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from utils.dataset_info import DatasetInfo
from utils.outputs import write_atomically


class InferenceSummary:
    """Counts the pixels of every class over all images, and per image.

    Attributes:
        images: number of images segmented.
        failed: name -> reason of those that were not.
    """

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info
        self.images = 0
        self.failed: dict[str, str] = {}
        self._pixels = np.zeros(256, dtype=np.int64)
        self._shares: dict[str, dict[str, float]] = {}

    def add(self, name: str, mask: np.ndarray) -> None:
        """Count one (H, W) uint8 mask."""
        counts = np.bincount(mask.reshape(-1), minlength=256)
        self._pixels += counts
        self.images += 1
        self._shares[name] = self._share(counts)

    def _share(self, counts: np.ndarray) -> dict[str, float]:
        total = int(counts.sum())
        return {
            name: round(int(count) / total, 6)
            for name, count in zip(self.info.classes, counts, strict=False)
            if count
        }

    def save(self, path: Path, seconds: float) -> None:
        """Write strict JSON: shares are parts of 1 of the pixels, classes that occur only.

        Raises:
            StorageError: it cannot be written.
        """
        content = {
            "images": self.images,
            "seconds": round(seconds, 3),
            "pixels": int(self._pixels.sum()),
            "class_shares": self._share(self._pixels) if self.images else {},
            "failed": self.failed,
            "per_image": self._shares,
        }
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))
