"""Segmentation of a video, frame by frame, into a video of masks or overlays."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

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

_CODECS = {".avi": "MJPG", ".mp4": "mp4v"}  # codecs that every build of cv2 includes


def segment_video(path: Path, folder: Path, predictor: Predictor | Ensemble, *, overlay: bool) -> int:
    """Write the frames' masks in colour, or blended with the frames, as a video of the same name.

    Memory does not depend on the length. The file is written atomically.

    Args:
        path: any video that cv2 reads.
        folder: output folder; the result is an MP4, or an AVI if ``path`` is one.
        predictor: model or ensemble for images of three channels.
        overlay: blend the mask with the frame.

    Returns:
        Exit code 0.

    Raises:
        DataError: no frame could be read.
        StorageError: the result cannot be written.
    """
    extension = ".avi" if path.suffix.lower() == ".avi" else ".mp4"
    target = folder / (path.stem + extension)
    if target.exists() and target.resolve() == path.resolve():
        raise StorageError(f"{target}: the result would overwrite the video; choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(target, extension) as temporary:
        frames = _write_masks(predictor, path, temporary, overlay)
    logger.info("%s: %d frames", target, frames)
    return 0


def _write_masks(predictor: Predictor | Ensemble, path: Path, target: Path, overlay: bool) -> int:
    """Predict the frames of a video one by one into another; return their number."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    writer: cv2.VideoWriter | None = None
    frames = 0
    try:
        with closing(_frames(capture)) as source:
            for frame in tqdm(source, total=count or None, unit="frame", disable=None):
                mask = predictor.predict(frame)
                output = blend(frame, mask, predictor.info) if overlay else colour_mask(mask, predictor.info)
                if writer is None:
                    writer = _open_writer(target, target.suffix, rate, (frame.shape[1], frame.shape[0]))
                writer.write(cv2.cvtColor(output, cv2.COLOR_RGB2BGR))
                frames += 1
    finally:
        if writer is not None:
            writer.release()
    if writer is None:
        raise DataError(f"{path}: no frame of this video could be read", kind="unreadable", paths=[path])
    return frames


def _frames(capture: cv2.VideoCapture) -> Generator[np.ndarray, None, None]:
    """Yield the (H, W, 3) uint8 RGB frames of a video, then close it."""
    try:
        while True:
            found, frame = capture.read()
            if not found:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _open_writer(path: Path, extension: str, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    """Open a video for writing; ``size`` is (width, height)."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*_CODECS[extension]), rate, size)
    if not writer.isOpened():
        raise StorageError(f"{path}: a video of {size[0]}x{size[1]} pixels cannot be written")
    return writer
