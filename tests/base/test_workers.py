"""Batches that a loader's workers make."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from base.workers import Collate, _Guarded, _report_unless_alone, collate, one_cv2_thread
from utils.data.batch import LabelledImage
from utils.errors import DataError

FILL = (10, 20, 30)


def item(height, width, value, name):
    return LabelledImage(
        np.full((height, width, 3), value, np.uint8), np.full((height, width), value, np.uint8), name
    )


def test_smaller_images_are_padded_at_the_right_and_at_the_bottom():
    batch = collate([item(2, 3, 1, "a"), item(4, 2, 5, "b")], FILL)
    assert batch.image_ids == ("a", "b") and batch.images.dtype == batch.target.dtype == torch.uint8
    assert batch.target.tolist() == [
        [[1, 1, 1], [1, 1, 1], [255, 255, 255], [255, 255, 255]],
        [[5, 5, 255]] * 4,
    ]
    assert batch.images[0, 0, 0].tolist() == [1, 1, 1]
    assert batch.images[0, 3, 2].tolist() == batch.images[1, 0, 2].tolist() == list(FILL)


def test_errors_pass_through_as_values():
    error = DataError("x.png: damaged")

    class Damaged:
        def __getitems__(self, keys):
            raise error

    returned = _Guarded(Damaged())([])
    assert returned is error and returned.__traceback__ is None
    assert Collate(FILL)(returned) is error


def test_the_number_of_cv2_threads_is_restored_after_an_error():
    before = cv2.getNumThreads()
    with pytest.raises(KeyError), one_cv2_thread():
        assert cv2.getNumThreads() == 1
        raise KeyError
    assert cv2.getNumThreads() == before


def test_a_worker_says_nothing_of_a_connection_that_the_main_process_closed(capfd):
    for error in (ConnectionResetError(104, "reset"), BrokenPipeError(), EOFError()):
        _report_unless_alone(type(error), error, None)
    assert capfd.readouterr().err == ""
    _report_unless_alone(KeyError, KeyError("x"), None)
    assert "KeyError: 'x'" in capfd.readouterr().err
