"""TensorBoard event files of a run: every curve over one axis, the optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class EventLog:
    """Writes scalars, pictures and texts; does nothing without a folder.

    Args:
        folder: where event files go; ``None`` writes none.
        first_step: what was logged at this step and later, by a run that is now resumed, is dropped.
    """

    def __init__(self, folder: Path | None, first_step: int = 0) -> None:
        self._writer: SummaryWriter | None = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter  # a quarter of a second

            self._writer = SummaryWriter(str(folder), purge_step=first_step or None)

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Log ``group/name`` for each value; NaN is left out."""
        if self._writer is not None:
            for name, value in values.items():
                if value == value:
                    self._writer.add_scalar(f"{group}/{name}", value, step)

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        """Log an (H, W, 3) uint8 picture."""
        if self._writer is not None:
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def text(self, name: str, text: str, step: int = 0) -> None:
        if self._writer is not None:
            self._writer.add_text(name, text, step)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
