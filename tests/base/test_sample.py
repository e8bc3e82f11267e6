"""Samples on disk: their digest, and the check of an image against its label."""

from __future__ import annotations

import os

import numpy as np
import pytest

from base.sample import Sample, check_pair, fingerprint
from utils.errors import DataError


@pytest.mark.parametrize(("size", "reduce", "fits"), [
    ((9, 12), 1, True), ((12, 9), 1, False), ((5, 6), 2, True), ((4, 6), 2, False), ((3, 3), 4, True),
])  # fmt: skip
def test_sides_of_a_reduced_image_are_rounded_up(size, reduce, fits):
    image, label = np.zeros((*size, 3), np.uint8), np.zeros((9, 12), np.uint8)
    if fits:
        check_pair(image, label, None, reduce)
    else:
        with pytest.raises(DataError, match=f"the image is {size[1]}x{size[0]}, its label 12x9 pixels"):
            check_pair(image, label, None, reduce)


def test_a_fingerprint_follows_names_sizes_and_times_of_all_files(tmp_path):
    image, mask = tmp_path / "a.png", tmp_path / "m.png"
    for path in (image, mask):
        path.write_bytes(b"1234")
        os.utime(path, ns=(0, 10**9))
    files = [Sample("a", image, mask)]
    first = fingerprint(files, "start")
    assert fingerprint(files, "start") == first
    seen = {first, fingerprint(files, "other start"), fingerprint([Sample("a", image, None)], "start")}
    mask.write_bytes(b"12345")
    os.utime(mask, ns=(0, 10**9))
    seen.add(fingerprint(files, "start"))
    os.utime(image, ns=(0, 2 * 10**9))
    seen.add(fingerprint(files, "start"))
    assert len(seen) == 5


def test_a_data_set_says_what_it_is():
    from dataloaders.shapes import ShapesDataSet

    assert repr(ShapesDataSet("val", num_images=5)) == "ShapesDataSet(split='val', images=5, root='.')"
