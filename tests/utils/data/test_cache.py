from __future__ import annotations

import signal
import time

import numpy as np
import pytest

from dataloaders import Folder, Shapes
from tests.dataloaders.test_contract import FAMILY, batches, equal
from tests.dataloaders.trees import blocks, folder, save
from utils.data.cache import DiskCache
from utils.errors import StorageError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Numbers:
    """Items that say which they are; counts how often they are read."""

    def __init__(self, count=5, version=0):
        self.count, self.version, self.read = count, version, 0

    def __len__(self):
        return self.count

    def load_checked(self, index):
        self.read += 1
        return np.full((3, index + 1, 2), index, np.uint8), np.full((3, index + 1), 9, np.uint8), f"n{index}"

    def fingerprint(self):
        return f"{self.count} {self.version}"


def check(cache, count=5):
    for index in range(count):
        image, label, name = cache[index]
        assert image.shape == (3, index + 1, 2) and (image == index).all()
        assert (label == 9).all() and name == f"n{index}"


def test_a_file_is_built_once_and_again_when_the_data_changes(own_cache):
    source = Numbers()
    check(DiskCache(source))
    check(DiskCache(source))
    assert source.read == 5
    check(DiskCache(Numbers(version=1)))
    assert len(list(own_cache.glob("*.cache"))) == 2 and not list(own_cache.glob("*.tmp"))


def test_parts_show_the_right_items():
    image, _, name = DiskCache(Numbers()).part([4, 2])[1]
    assert name == "n2" and (image == 2).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ram", "disk"])
@pytest.mark.parametrize("workers", [{}, {"num_workers": 2}, {"num_workers": 1, "worker_type": "process"}])
def test_cached_batches_are_the_same_whole_images(tmp_path, kind, workers):
    if kind == "ram" and "worker_type" in workers:
        with pytest.raises(ValueError, match="threads only"):
            Folder(**folder(tmp_path), split="train", batch_size=2, cache=kind, **workers)
        return
    args = dict(**folder(tmp_path), split="train", batch_size=2, val=True)
    assert equal(batches(Folder(**args)), batches(Folder(**args, cache=kind, **workers)))


def test_cached_training_repeats_and_survives_the_files(tmp_path):
    args = dict(**folder(tmp_path), split="train", batch_size=2, cache="disk", **FAMILY)
    loader = Folder(**args)
    first = batches(loader, 1)
    for path in (tmp_path / "imgs").iterdir():
        path.write_bytes(b"")  # nothing is read any more
    assert equal(batches(loader, 1), first)


def test_a_changed_mask_makes_another_cache(tmp_path):
    args = dict(**folder(tmp_path), split="train", batch_size=4, val=True, cache="disk")
    before = batches(Folder(**args))[0].target
    mask = tmp_path / "masks" / "cell 0.v2_mask.png"
    save(mask, blocks((48, 64), [0, 255], 77))
    after = batches(Folder(**args))[0].target
    assert not np.array_equal(before.numpy(), after.numpy())


def test_drawn_images_can_be_cached_and_split():
    loader = Shapes(split="train", num_images=8, image_size=32, batch_size=2, val_split=2, cache="ram")
    plain = Shapes(split="train", num_images=8, image_size=32, batch_size=2, val_split=2)
    assert equal(batches(loader), batches(plain))
    assert equal(batches(loader.get_val_loader()), batches(plain.get_val_loader()))


@pytest.mark.slow
def test_a_kill_leaves_no_half_cache(forks, own_cache):
    code = (
        "import time, numpy as np\nfrom utils.data.cache import DiskCache\n"
        "from tests.utils.data.test_cache import Numbers\n"
        "class Slow(Numbers):\n"
        "    def load_checked(self, index):\n"
        "        time.sleep(0.05)\n        return super().load_checked(index)\n"
        "print('go', flush=True)\nDiskCache(Slow(40))\n"
    )
    child = forks.start(code)
    assert child.stdout.readline() == "go\n"
    time.sleep(0.4)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not list(own_cache.glob("*.cache"))
    check(DiskCache(Numbers(40)), 40)


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="image cache cannot be written"):
        DiskCache(Numbers(), tmp_path / "file" / "below")


class TestOptionsThatChangeDecodedValues:
    """A disk cache is never that of other decoded values."""

    @pytest.fixture
    def args(self, tmp_path):
        for number in range(3):
            grey = (np.arange(32 * 40).reshape(32, 40) * 3 + number).astype(np.uint16)
            save(tmp_path / "images" / f"{number}.png", grey)
            save(tmp_path / "masks" / f"{number}.png", blocks((32, 40), [0, 1], number))
        return {"data_dir": str(tmp_path), "classes": ["a", "b"], "batch_size": 3, "val": True}

    def images(self, args, **options):
        return next(iter(Folder(**args, **options))).images.numpy()

    @pytest.mark.parametrize(
        "other", [{"value_range": (0, 1000)}, {"channels": 1}, {"value_range": (0, 2000)}]
    )
    def test_another_value_range_or_number_of_channels_is_decoded_again(self, args, other):
        self.images(args, cache="disk", value_range=(0, 4095))
        options = {"value_range": (0, 4095), **other}
        assert np.array_equal(self.images(args, cache="disk", **options), self.images(args, **options))

    def test_another_mean_changes_the_colour_behind_transparency(self, args, tmp_path):
        for number in range(3):
            save(tmp_path / "images" / f"{number}.png", np.full((32, 40, 4), 100, np.uint8))
        self.images(args, cache="disk")
        other = {"mean": [0.1, 0.5, 0.9]}
        assert np.array_equal(self.images(args, cache="disk", **other), self.images(args, **other))

    def test_options_of_the_transform_and_the_seed_use_the_same_file(self, args, own_cache):
        for options in ({}, {"seed": 3}, {"crop_size": 16}, {"std": [0.1, 0.1, 0.1]}):
            self.images(args, cache="disk", **options)
        assert len(list(own_cache.glob("*.cache"))) == 2  # std is an option of the folder's own

    def test_an_option_of_a_users_own_data_set_counts(self, args):
        from dataloaders.folder import FolderDataSet

        class Dimmed(FolderDataSet):
            def __init__(self, data_dir: str, dim: int = 1, **options):
                self.dim = dim
                super().__init__(data_dir, **options)

        sets = [Dimmed(args["data_dir"], *dim, classes=["a", "b"]) for dim in ((), (1,), (2,))]
        first, same, other = (data.fingerprint() for data in sets)
        assert first == same != other
