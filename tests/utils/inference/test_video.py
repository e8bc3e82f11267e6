"""Videos of masks: colours of the classes, the frames' order, and nothing left after an error."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.dataset_info import DatasetInfo
from utils.errors import DataError, StorageError
from utils.inference.video import segment_video

INFO = DatasetInfo(("dark", "bright"), ((0, 0, 255), (255, 255, 0)))


class Threshold:
    """A predictor of bright pixels."""

    info = INFO

    def predict(self, image: np.ndarray) -> np.ndarray:
        return (image.mean(axis=2) > 127).astype(np.uint8)


def make_video(path: Path, values: list[int]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for value in values:
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB).astype(int))
    capture.release()
    return frames


@pytest.mark.parametrize("overlay", [False, True])
def test_frames_are_masks_in_their_order(tmp_path, overlay):
    path = make_video(tmp_path / "clip.avi", [0, 255, 0])
    assert segment_video(path, tmp_path / "out", Threshold(), overlay=overlay) == 0
    frames = frames_of(tmp_path / "out" / "clip.avi")
    colours = [np.array(INFO.palette[index]) for index in (0, 1, 0)]
    if overlay:
        colours = [(colour + value) / 2 for colour, value in zip(colours, (0, 255, 0), strict=True)]
    for frame, colour in zip(frames, colours, strict=True):
        assert np.abs(frame.mean((0, 1)) - colour).max() < 12  # the codec is lossy
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.avi"]


def test_a_video_is_never_overwritten_by_its_result(tmp_path):
    path = make_video(tmp_path / "clip.avi", [0])
    before = path.read_bytes()
    with pytest.raises(StorageError, match="overwrite"):
        segment_video(path, tmp_path, Threshold(), overlay=False)
    assert path.read_bytes() == before


def test_an_error_leaves_no_file(tmp_path):
    class Broken(Threshold):
        def predict(self, image: np.ndarray) -> np.ndarray:
            raise DataError("the network failed")

    path = make_video(tmp_path / "clip.avi", [0, 255])
    with pytest.raises(DataError, match="the network failed"):
        segment_video(path, tmp_path / "out", Broken(), overlay=False)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(DataError, match="no frame"):
        segment_video(tmp_path / "empty.mp4", tmp_path / "out", Threshold(), overlay=False)
    assert not list((tmp_path / "out").iterdir())
