from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import dataloaders
from base import BaseDataLoader
from dataloaders import VOC, CamVid, Folder, Shapes
from tests.dataloaders.test_contract import FAMILY, batches, equal
from tests.dataloaders.trees import blocks, camvid, picture, save, voc
from tests.experiments import open_data
from utils.errors import ConfigError, DataError, LabelError
from utils.images.header import image_size
from utils.images.read import read_image

WORKERS = [
    {"num_workers": 0},
    {"num_workers": 1, "worker_type": "thread"},
    {"num_workers": 1, "worker_type": "process"},
]


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kind"), [(1, "thread"), (4, "thread"), (1, "process"), (2, "process")])
def test_batches_do_not_depend_on_the_workers(tmp_path, workers, kind):
    """D33."""
    args = dict(**voc(tmp_path), split="train", batch_size=2, shuffle=True, elastic=True, grid=True, **FAMILY)
    alone, helped = VOC(**args), VOC(**args, num_workers=workers, worker_type=kind)
    for epoch in (1, 2):  # persistent workers must see the second epoch too
        assert equal(batches(alone, epoch), batches(helped, epoch))
    assert equal(batches(alone, 3)[1:], batches(helped, 3, start=1))


def test_loading_leaves_the_global_generators_alone():
    loader = Shapes(split="train", batch_size=4, num_images=8, image_size=32)
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    batches(loader)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS)
def test_a_broken_file_is_named_in_one_line(tmp_path, workers):
    args = voc(tmp_path)
    broken = tmp_path / "VOC2012" / "JPEGImages" / "2007_000002.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    loader = VOC(**args, split="train", batch_size=2, crop_size=16, **workers)
    with pytest.raises(DataError, match="2007_000002.jpg") as caught:
        batches(loader)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS)
def test_an_illegal_value_is_named_with_file_and_share(tmp_path, workers):
    args = camvid(tmp_path)
    mask = blocks((48, 64), list(range(12)), 3)
    mask[5, 7] = 37
    save(tmp_path / "trainannot" / "0001TP_3.png", mask)
    loader = CamVid(**args, split="train", batch_size=2, **workers)
    with pytest.raises(LabelError, match=r"0001TP_3.png: value 37 at 0.0326 % .* row 5, column 7") as caught:
        batches(loader)
    error = caught.value  # of a worker process, its facts have come through a pickle
    assert (error.kind, error.values, error.pixels, error.first) == ("unknown_value", (37,), 1, (5, 7))
    assert error.paths == (tmp_path / "trainannot" / "0001TP_3.png",) and error.share == 1 / (48 * 64)


@pytest.mark.slow
def test_a_dead_worker_is_one_line(tmp_path):
    class Dying(dataloaders.shapes.ShapesDataSet):
        def _load_data(self, index):
            os.kill(os.getpid(), signal.SIGKILL)

    class DyingLoader(BaseDataLoader):
        dataset_class = Dying

    with pytest.raises(DataError, match="worker process that prepares data died"):
        list(DyingLoader(split="train", batch_size=2, num_workers=1, worker_type="process"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS)
def test_leaving_an_epoch_early_leaves_nothing_behind(workers):
    """D34: cv2's number of threads is put back too."""
    before = threading.active_count(), cv2.getNumThreads()
    loader = Shapes(split="train", batch_size=2, num_images=64, image_size=32, **workers)
    loader.set_epoch(1)
    first = next(iter(loader))
    assert equal([first], batches(loader)[:1])  # and the loader can be used again
    del loader
    gc.collect()
    deadline = time.monotonic() + 5  # the threads that feed torch's queues end soon after
    while threading.active_count() > before[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before[0] and cv2.getNumThreads() == before[1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS)
def test_thirty_epochs_leak_no_file_and_no_thread(workers):
    """R31."""
    loader = Shapes(split="train", batch_size=4, num_images=8, image_size=32, **workers)
    batches(loader)
    handles = _open_files()
    for epoch in range(30):
        batches(loader, epoch)
    assert _open_files() <= handles + 2


def _open_files():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@pytest.mark.parametrize(("length", "options", "expected"), [
    (9, {}, 2), (10, {}, 3), (9, {"drop_last": False}, 3), (10, {"drop_last": True}, 2),
    (9, {"val": True}, 3), (9, {"batch_size": 1}, 9),
])  # fmt: skip
def test_a_single_last_image_is_dropped_in_training_only(length, options, expected):
    args = {"batch_size": 4, "split": "train", "num_images": length, "image_size": 32, **options}
    loader = Shapes(**args)
    assert len(loader) == len(list(loader)) == expected


def test_fewer_images_than_a_batch_is_an_error_in_training():
    """D37."""
    with pytest.raises(ValueError, match="batch_size: 8 is more than the 3 images"):
        Shapes(split="train", batch_size=8, num_images=3)
    assert len(Shapes(split="val", batch_size=8, num_images=3, val=True)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [{}, {"num_workers": 2}, {"num_workers": 2, "worker_type": "process"}])
def test_an_epoch_may_pass_over_the_images_several_times(workers):
    loader = Shapes(
        split="train",
        batch_size=4,
        num_images=5,
        image_size=32,
        crop_size=16,
        repeat=3,
        drop_last=False,
        **workers,
    )
    loader.set_epoch(1)
    found = list(loader)
    names = [name for batch in found for name in batch.image_ids]
    assert len(loader) == len(found) == 4
    assert {names.count(name) for name in names} == {3}
    first = [
        image
        for batch in found
        for image, name in zip(batch.images, batch.image_ids, strict=True)
        if name == names[0]
    ]
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])
    loader.set_epoch(1, start_step=2)
    assert torch.equal(next(iter(loader)).images, found[2].images)


def test_repeat_fills_a_batch_and_is_refused_for_validation():
    assert len(next(iter(Shapes(split="train", batch_size=8, num_images=3, repeat=3))).images) == 8
    with pytest.raises(ValueError, match="repeat: validation data"):
        Shapes(split="val", batch_size=1, num_images=3, repeat=2, val=True)


def test_a_misspelt_argument_gets_a_hint():
    args = {"batch_size": 2, "split": "train", "data_dir": "x", "crop_sise": 3}
    with pytest.raises(ConfigError, match=r"crop_sise: VOC has no such argument; did you mean 'crop_size'"):
        open_data({"type": "VOC", "args": args})


@pytest.mark.parametrize(("args", "message"), [
    ({"split": "trian"}, "train_loader.args.*'trian'"),
    ({"val": True, "augment": True}, "exclude each other"),
    ({"val": True, "val_split": 0.5}, "val_split"),
    ({"scale": [2.0, 0.5]}, "scale"),
    ({"crop_size": 0}, "between 1 and 32767"),
    ({"crop_size": [3]}, "crop_size"),
    ({"flip": 1.5}, "flip"),
    ({"rotate": "much"}, "rotate"),
    ({"data_dir": "x"}, "no such argument"),
])  # fmt: skip
def test_bad_options_are_config_errors(args, message):
    """D32: augment beside val is one of them."""
    args = {"batch_size": 2, "split": "train", **args}
    with pytest.raises(ConfigError, match=message):
        open_data({"type": "Shapes", "args": args})


def test_training_images_of_different_sizes_are_padded_with_mean_and_void(tmp_path):
    """D09."""
    loader = VOC(**voc(tmp_path), split="train", batch_size=4, augment=False, shuffle=False)
    (batch,) = batches(loader)
    assert batch.images.shape == (4, 64, 65, 3)
    assert (batch.images[2, 40:] == torch.tensor(loader.info.fill_colour, dtype=torch.uint8)).all()
    assert (batch.target[2, :, 40:] == 255).all()


def test_a_family_training_config_is_taken_as_it_is(tmp_path):
    args = {
        **voc(tmp_path), "batch_size": 2, "base_size": 40, "crop_size": 38, "augment": True, "shuffle": True,
        "scale": True, "flip": True, "rotate": True, "blur": False, "split": "train_aug", "num_workers": 0,
        "return_id": False, "val": False, "val_split": None,
    }  # fmt: skip
    loader = open_data({"type": "VOC", "args": args})
    assert batches(loader)[0].images.shape == (2, 38, 38, 3)


@pytest.mark.slow
def test_worker_processes_start_after_cv2_has_run_in_several_threads(forks):
    """A forked cv2 waits for ever for the threads that its parent had, once their number is set."""
    code = (
        "import cv2, numpy as np, os\n"
        "import dataloaders\n"
        "os.setsid()\n"
        "cv2.setNumThreads(4)\n"
        "cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (5, 5), 1)\n"
        "options = {'num_workers': 1, 'worker_type': 'process', 'num_images': 8}\n"
        "loader = dataloaders.Shapes(split='train', batch_size=4, **options)\n"
        "print(len(list(loader)), cv2.getNumThreads())\n"
    )
    run = forks.start(code)
    try:
        assert run.communicate().split() == ["2", "4"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)  # the worker as well, if it hangs


def test_mistakes_of_loader_and_data_set_are_found_together_before_anything_is_read():
    args = {
        "batch_size": 2, "split": "trian", "data_dir": "nowhere", "val": True, "val_split": 0.2, "repeat": 3,
        "cache": "ram", "worker_type": "process", "num_workers": 1, "augment": True,
    }  # fmt: skip
    problems = VOC.check_arguments(args, "val_loader.args")
    assert [problem.split(": ")[0] for problem in problems] == [
        f"val_loader.args.{key}" for key in ("val_split", "repeat", "cache", "split", "augment")
    ]


@pytest.mark.parametrize(("args", "message"), [
    ({"val": True, "val_split": 0.5}, "val_split: it divides training data"),
    ({"val_split": 1.5}, "val_split: 1.5 is neither a share below 1 nor a whole number of images"),
    ({"val": True, "repeat": 2}, "repeat: validation data"),
    ({"cache": "ram", "worker_type": "process", "num_workers": 2}, "cache: 'ram' is shared by threads only"),
])  # fmt: skip
def test_constructors_refuse_what_the_check_refuses(args, message):
    args = {"batch_size": 2, "split": "train", "num_images": 8, **args}
    (problem,) = Shapes.check_arguments(args, "")
    with pytest.raises(ValueError) as caught:
        Shapes(**args)
    assert str(caught.value) == problem and problem.startswith(message)


@pytest.mark.parametrize("args", [
    {"val_split": 2.0}, {"val_split": 1}, {"val_split": 0.5}, {"val_split": None}, {"val": True, "val_split": 0.0},
    {"cache": "ram", "worker_type": "process"}, {"cache": "ram", "num_workers": 2}, {"val": True, "repeat": 1},
])  # fmt: skip
def test_options_that_agree_are_accepted(args):
    args = {"batch_size": 2, "split": "train", "num_images": 8, "image_size": 32, **args}
    assert Shapes.check_arguments(args, "train_loader.args") == []
    assert len(Shapes(**args).dataset) > 0


class TestValidationOfImagesOfDifferentSizes:
    """D9: what an image is predicted from does not depend on its neighbours in a batch."""

    def loader(self, root, batch_size, **options):
        sizes = [(20, 30), (30, 20), (20, 30), (24, 24), (30, 20), (20, 30)]
        for number, size in enumerate(sizes):
            save(root / "images" / f"{number}.png", picture(size, number))
            save(root / "masks" / f"{number}.png", blocks(size, [0, 1], number))
        spec = {"data_dir": str(root), "classes": ["a", "b"], "split": "all", "val": True, **options}
        return Folder(batch_size=batch_size, **spec)

    @pytest.mark.slow
    @pytest.mark.parametrize("batch_size", [1, 2, 3, 9])
    @pytest.mark.parametrize("workers", WORKERS)
    def test_no_image_is_padded_whatever_the_batch_size(self, tmp_path, batch_size, workers):
        loader = self.loader(tmp_path, batch_size, **workers)
        found = list(loader)
        assert len(found) == len(loader) == {1: 6, 2: 4, 3: 3, 9: 3}[batch_size]
        for batch in found:
            for image, target, name in zip(*batch, strict=True):
                stored = read_image(tmp_path / "images" / f"{name}.png")
                assert np.array_equal(image, stored) and target.shape == stored.shape[:2]
        assert sorted(name for batch in found for name in batch.image_ids) == list("012345")

    @pytest.mark.slow
    def test_the_figures_do_not_depend_on_the_batch_size(self, tmp_path):
        """A network with convolutions, in fp64."""
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 5, padding=2), torch.nn.Conv2d(4, 2, 9, padding=4)
        ).double()
        answers = []
        for batch_size in (1, 2, 9):
            found = {}
            for batch in self.loader(tmp_path, batch_size):
                with torch.no_grad():
                    logits = net(batch.images.double().permute(0, 3, 1, 2) / 255)
                found |= {name: logits[row] for row, name in enumerate(batch.image_ids)}
            answers.append(found)
        for other in answers[1:]:
            assert all(torch.allclose(answers[0][name], other[name], atol=1e-12) for name in "012345")

    def test_the_dry_run_sees_the_batch_of_most_pixels(self, tmp_path):
        assert self.loader(tmp_path, 9).largest_batch().images.shape == (3, 20, 30, 3)

    def test_a_part_kept_back_by_val_split_is_grouped_too(self, tmp_path):
        loader = self.loader(tmp_path, 2, val=False, val_split=3).get_val_loader()
        sizes = {sample.image_id: image_size(sample.image) for sample in loader.dataset.files}
        for batch in loader:
            assert {sizes[name] for name in batch.image_ids} == {tuple(batch.images.shape[1:3])}

    def test_images_whose_header_shows_no_size_go_one_by_one(self, tmp_path, monkeypatch):
        loader = self.loader(tmp_path, 3)
        monkeypatch.setattr(
            "base.sample.image_size", lambda path: (_ for _ in ()).throw(DataError("unknown"))
        )
        loader = self.loader(tmp_path, 3)
        assert [len(batch.images) for batch in loader] == [1] * 6
        assert len(loader.largest_batch().images) == 1

    def test_images_of_one_size_keep_their_batches(self):
        loader = Shapes(split="val", batch_size=4, num_images=10, image_size=32, val=True)
        assert [len(batch.images) for batch in loader] == [4, 4, 2]
