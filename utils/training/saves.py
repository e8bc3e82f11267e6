"""The checkpoints of a run as it writes them: only states that a run can continue from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from utils.errors import CheckpointError, NonFiniteError
from utils.run.checkpoint import save_checkpoint
from utils.run.folder import RunFolder
from utils.training.finite import first_bad, unbounded_buffers


class Saves:
    """Writes the checkpoints of one run and knows which state the newest one holds.

    Args:
        run: the run folder.
        model: the untrained model; its buffers that are not finite are constants.
        period: epochs between numbered checkpoints; 0 keeps none.
        limit: numbered checkpoints kept, the newest first; 0 keeps all.
    """

    def __init__(self, run: RunFolder, model: nn.Module, period: int, limit: int) -> None:
        self.run, self.period, self.limit = run, period, limit
        self._constants = unbounded_buffers(model)
        self._newest: str | None = None

    def write(self, state: Mapping[str, Any], *, finished: int | None = None, improved: bool = False) -> None:
        """Write ``last.pth`` and its other names; the file before it becomes ``previous.pth``.

        Args:
            state: the state of the trainer.
            finished: the epoch that has just ended, for the numbered checkpoint; ``None`` within an epoch.
            improved: whether that epoch is the best so far.

        Raises:
            NonFiniteError: the state holds a NaN or an infinite value; the old files are intact.
            StorageError: it could not be written; the old file is intact.
        """
        self.require_finite(state)
        names = [] if finished is None else self._names(finished, improved)
        save_checkpoint(self.run.last, state, backup=self.run.previous, names=names)
        self._note(state)
        self.run.remove_numbered(self.limit)

    def require_finite(self, state: Mapping[str, Any]) -> None:
        """Refuse a state that must not be saved.

        Raises:
            NonFiniteError: it holds a NaN or an infinite value.
        """
        bad = first_bad(state, self._constants)
        if bad is not None:
            raise NonFiniteError(
                f"'{bad}' is not finite after step {state['global_step']}, so this state was not saved. Try a "
                "lower learning rate, a larger eps of the optimizer, or precision fp32"
            )

    def accept(self, state: Mapping[str, Any]) -> None:
        """Check the state that a run starts or continues from, and give it the names that a kill left out.

        Raises:
            CheckpointError: it holds a NaN or an infinite value.
            StorageError: a name could not be written.
        """
        bad = first_bad(state, self._constants)
        if bad is not None:
            raise CheckpointError(
                f"'{bad}' is not finite, so nothing can be trained from it; continue from another checkpoint"
            )
        if not state["global_step"]:
            return
        self._note(state)
        finished = state["epoch"] - 1
        if not state["step"]:
            self.run.name_again(state, self._names(finished, state["monitor"]["best_epoch"] == finished))
            self.run.remove_numbered(self.limit)

    def explained(self, error: NonFiniteError) -> NonFiniteError:
        """Return the error with a sentence on the checkpoint to continue from."""
        if self._newest is None:
            return NonFiniteError(f"{error}. No checkpoint was written before")
        return NonFiniteError(
            f"{error}. The newest checkpoint is finite ({self._newest}); to continue from it with another "
            f"setting: python train.py --resume {self.run.path} --allow-change --set KEY=VALUE"
        )

    def _names(self, finished: int, improved: bool) -> list[Path]:
        """Return the files that hold the end of an epoch too."""
        due = self.period and finished % self.period == 0
        return [*([self.run.best] if improved else []), *([self.run.numbered(finished)] if due else [])]

    def _note(self, state: Mapping[str, Any]) -> None:
        epoch, step = state["epoch"], state["step"]
        self._newest = f"epoch {epoch}, {step} batches done" if step else f"the end of epoch {epoch - 1}"
