"""Images per second of the input pipeline, beside albumentations and torchvision doing the same work.

    python benchmarks/data_pipeline.py [--sets voc carvana cityscapes cityscapes-jpeg] [--seconds 4]

The work: read an image and its mask, draw a scale of 0.5 to 2, a rotation of up to 10 degrees, a crop and a
mirror image, and return a batch of eight as one uint8 array. Each contender has one worker. All run in turns,
three rounds, in one process tree on an otherwise idle machine; the median of the rounds is printed.

``decode only`` reads the same files with the decoders used here and does nothing else: an upper bound for a
pipeline without reduced decoding. ``decode only, cv2`` uses the decoders of cv2, as the contender
albumentations does. Without ``--images`` the images are drawn: several octaves of noise, so that they
compress about as photos do. ``ours, mix and erase`` and the two after it do more work than the others.

Ours runs as in ``train.py``, with an allocator that keeps freed memory; the others run without it, and
albumentations once more with it, because large images gain much by it on some machines.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dataloaders.folder import Folder
from utils.images.masks import read_mask
from utils.images.read import read_image
from utils.system.allocator import keep_freed_memory

BATCH = 8
MIXES = ("mosaic", "cutmix", "class_paste")


class Set(NamedTuple):
    """The size and number of images, and the work on them."""

    size: tuple[int, int]  # height, width
    suffix: str
    base_size: int
    crop: int
    count: int


SETS = {
    "voc": Set((375, 500), ".jpg", 500, 380, 64),
    "carvana": Set((1280, 1918), ".jpg", 1024, 512, 24),
    "cityscapes": Set((1024, 2048), ".png", 2048, 768, 16),
    "cityscapes-jpeg": Set((1024, 2048), ".jpg", 2048, 768, 16),
}


def draw_set(kind: Set, folder: Path) -> None:
    """Write noise images and masks of blocks."""
    rng = np.random.default_rng(0)
    height, width = kind.size
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(kind.count):
        image = np.zeros((height, width, 3), np.float32)
        for octave in range(1, 8):
            cells = rng.normal(0, 40 / octave, (2**octave, 2**octave, 3)).astype(np.float32)
            image += cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
        image += rng.normal(0, 2 if kind.suffix == ".jpg" else 1.2, image.shape)
        drawn = np.clip(image + 128, 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90] if kind.suffix == ".jpg" else []
        cv2.imwrite(str(folder / "images" / f"{number:03d}{kind.suffix}"), drawn, quality)
        cells = rng.integers(0, 19, (height // 64 + 1, width // 64 + 1)).astype(np.uint8)
        mask = np.kron(cells, np.ones((64, 64), np.uint8))[:height, :width]
        cv2.imwrite(str(folder / "masks" / f"{number:03d}.png"), mask)


class Peer(Dataset):
    """Files and a transform of another library."""

    def __init__(self, folder: Path, work: Callable[[str, str], Any]) -> None:
        self.images = sorted(map(str, (folder / "images").iterdir()))
        self.masks = sorted(map(str, (folder / "masks").iterdir()))
        self.work = work

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.work(self.images[index], self.masks[index])


def one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def peer_loader(folder: Path, work: Callable[[str, str], Any]) -> DataLoader:
    return DataLoader(
        Peer(folder, work), BATCH, shuffle=True, num_workers=1, drop_last=True, worker_init_fn=one_thread,
        persistent_workers=True,
    )  # fmt: skip


def albumentations_work(kind: Set) -> Callable[[str, str], Any]:
    """Compose the transforms in the fastest order: crop before rotating; only the scaling sees the full image."""
    import albumentations as A

    low, high = (ratio * kind.base_size / max(kind.size) - 1 for ratio in (0.5, 2.0))
    compose = A.Compose(
        [
            A.RandomScale((low, high), p=1),
            A.PadIfNeeded(kind.crop, kind.crop, border_mode=cv2.BORDER_CONSTANT, fill=114, fill_mask=255),
            A.RandomCrop(kind.crop, kind.crop),
            A.Rotate(10, border_mode=cv2.BORDER_CONSTANT, fill=114, fill_mask=255, p=1),
            A.HorizontalFlip(p=0.5),
        ]
    )

    def work(image: str, mask: str) -> Any:
        pixels = cv2.cvtColor(cv2.imread(image), cv2.COLOR_BGR2RGB)
        result = compose(image=pixels, mask=cv2.imread(mask, cv2.IMREAD_UNCHANGED))
        return result["image"], result["mask"]

    return work


def torchvision_work(kind: Set) -> Callable[[str, str], Any]:
    from torchvision import tv_tensors
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    fill = {tv_tensors.Image: 114, tv_tensors.Mask: 255}
    ratio = kind.base_size / max(kind.size)
    compose = v2.Compose(
        [
            v2.ScaleJitter(kind.size, (0.5 * ratio, 2.0 * ratio), antialias=False),
            v2.RandomCrop(kind.crop, pad_if_needed=True, fill=fill),
            v2.RandomRotation(10, interpolation=v2.InterpolationMode.BILINEAR, fill=fill),
            v2.RandomHorizontalFlip(0.5),
        ]
    )

    def work(image: str, mask: str) -> Any:
        pixels = tv_tensors.Image(decode_image(image, ImageReadMode.RGB))
        return tuple(compose(pixels, tv_tensors.Mask(decode_image(mask, ImageReadMode.UNCHANGED))))

    return work


def ours(kind: Set, folder: Path, **options: Any) -> Folder:
    return Folder(
        data_dir=str(folder), classes=[str(number) for number in range(19)], void=[255], batch_size=BATCH,
        base_size=kind.base_size, crop_size=kind.crop, scale=True, rotate=True, flip=True, num_workers=1,
        drop_last=True, **options,
    )  # fmt: skip


def endless(loader: Any) -> Generator[Any, None, None]:
    epoch = 0
    while True:
        epoch += 1
        if isinstance(loader, Folder):
            loader.set_epoch(epoch)
        yield from loader


def cv2_image(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def cv2_mask(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def decode_only(
    folder: Path, image_of: Callable[[Path], Any] = read_image, mask_of: Callable[[Path], Any] = read_mask
) -> Generator[int, None, None]:
    pairs = list(
        zip(sorted((folder / "images").iterdir()), sorted((folder / "masks").iterdir()), strict=True)
    )
    cv2.setNumThreads(1)
    while True:
        for first in range(0, len(pairs), BATCH):
            for image, mask in pairs[first : first + BATCH]:
                image_of(image)
                mask_of(mask)
            yield 0


def start(source: Generator[Any, None, None], kind: Set) -> Generator[Any, None, None]:
    """Take batches until the workers run and the caches are full."""
    for _ in range(max(2, kind.count // BATCH)):
        next(source)
    return source


def measure(kind: Set, folder: Path, seconds: float, cached: bool) -> dict[str, float]:
    """Return the median images per second of each contender."""
    plain = {
        "albumentations": lambda: endless(peer_loader(folder, albumentations_work(kind))),
        "torchvision v2": lambda: endless(peer_loader(folder, torchvision_work(kind))),
    }
    tuned = {
        "albumentations, our allocator": plain["albumentations"],
        "decode only": lambda: decode_only(folder),
        "decode only, cv2": lambda: decode_only(folder, cv2_image, cv2_mask),
        "ours": lambda: endless(ours(kind, folder)),
        "ours, mix and erase": lambda: endless(ours(kind, folder, mix=list(MIXES), erase=0.5)),
        "ours, cutmix in every sample": lambda: endless(ours(kind, folder, mix={"cutmix": 1})),
        "ours, light and labels": lambda: endless(
            ours(kind, folder, gamma=True, exposure=True, label_elastic=True)
        ),
        "ours, worker process": lambda: endless(ours(kind, folder, worker_type="process")),
    }
    if cached:
        tuned["ours, cache in memory"] = lambda: endless(ours(kind, folder, cache="ram"))
    open_now = {name: start(make(), kind) for name, make in plain.items()}
    keep_freed_memory()  # in this process, and in the workers that it starts from here on
    open_now |= {name: start(make(), kind) for name, make in tuned.items()}
    rates: dict[str, list[float]] = {name: [] for name in open_now}
    for _ in range(3):
        for name, source in open_now.items():
            for _ in range(4):  # batches prepared while others ran do not count
                next(source)
            begin, done = time.perf_counter(), 0
            while time.perf_counter() - begin < seconds:
                next(source)
                done += BATCH
            rates[name].append(done / (time.perf_counter() - begin))
    for source in open_now.values():
        source.close()
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument(
        "--images", type=Path, help="folder with images/ and masks/ to use instead, for one set"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="per contender and round")
    parser.add_argument("--no-cache", action="store_true", help="leave out the cached contender")
    args = parser.parse_args()
    one_thread(0)  # before the first fork: a fork of cv2's thread pool hangs
    if len(args.sets) > 1:  # each in a process of its own, whose allocator is untouched
        for name in args.sets:
            rest = [word for word in sys.argv[1:] if word not in ("--sets", *args.sets)]
            subprocess.run([sys.executable, __file__, "--sets", name, *rest], check=True)
        return
    for name in args.sets:
        with tempfile.TemporaryDirectory() as scratch:
            folder = args.images or Path(scratch)
            if args.images is None:
                draw_set(SETS[name], folder)
            rates = measure(SETS[name], folder, args.seconds, not args.no_cache)
        kind = SETS[name]
        print(
            f"\n{name}: {kind.size[1]}x{kind.size[0]} {kind.suffix}, crop {kind.crop}, base {kind.base_size}"
        )
        for contender, rate in rates.items():
            share = rate / rates["albumentations"]
            print(f"  {contender:<30} {rate:8.1f} images/s  {share:5.2f} x albumentations", flush=True)


if __name__ == "__main__":
    main()
