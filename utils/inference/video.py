"""Segments a video frame by frame into a video of masks or overlays."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tqdm import tqdm

from utils.errors import DataError, StorageError
from utils.images.draw import blend, colour_mask
from utils.system.files import replacing

if TYPE_CHECKING:
    from utils.predict.ensemble import Ensemble
    from utils.predict.predictor import Predictor

logger = logging.getLogger(__name__)

_CODECS = {".avi": "MJPG", ".mp4": "mp4v"}  # what every build of cv2 brings with it


def segment_video(path: Path, folder: Path, predictor: Predictor | Ensemble, *, overlay: bool) -> int:
    """Write ``folder / path's name``: the frames' masks in colour, or laid over the frames.

    Memory does not depend on the length. The file appears under its name when it is whole.

    Args:
        path: any video that cv2 reads.
        folder: for the result; MP4, or AVI if ``path`` is one.
        predictor: what segments; for three-channel images.
        overlay: lay the mask over the frame.

    Returns:
        0.

    Raises:
        DataError: no frame could be read.
        StorageError: the result cannot be written.
    """
    ending = ".avi" if path.suffix.lower() == ".avi" else ".mp4"
    target = folder / (path.stem + ending)
    if target.exists() and target.resolve() == path.resolve():
        raise StorageError(f"{target}: the result would overwrite the video; choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(target, ending) as temporary:
        frames = _write_masks(predictor, path, temporary, overlay)
    logger.info("%s: %d frames", target, frames)
    return 0


def _write_masks(predictor: Predictor | Ensemble, path: Path, target: Path, overlay: bool) -> int:
    """Predict the frames of a video one by one into another; returns how many there were."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    writer: Any = None
    frames = 0
    try:
        with closing(_frames(capture)) as source:
            for frame in tqdm(source, total=count or None, unit="frame", disable=None):
                mask = predictor.predict(frame)
                picture = blend(frame, mask, predictor.info) if overlay else colour_mask(mask, predictor.info)
                if writer is None:
                    writer = _open_writer(target, target.suffix, rate, (frame.shape[1], frame.shape[0]))
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                frames += 1
    finally:
        if writer is not None:
            writer.release()
    if writer is None:
        raise DataError(f"{path}: no frame of this video could be read")
    return frames


def _frames(capture: Any) -> Generator[np.ndarray, None, None]:
    """(H, W, 3) uint8 RGB frames until the end."""
    try:
        while True:
            found, frame = capture.read()
            if not found:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _open_writer(path: Path, ending: str, rate: float, size: tuple[int, int]) -> Any:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*_CODECS[ending]), rate, size)
    if not writer.isOpened():
        raise StorageError(f"{path}: a video of {size[0]}x{size[1]} pixels cannot be written")
    return writer
