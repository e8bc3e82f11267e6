"""Compares what two checkouts compute, to the bit: ``python benchmarks/same_results.py OLD NEW [--data DIR]``.

Both train the quick start, are killed and resumed, predict in every mode, evaluate, export and write reports;
with ``--data`` (a folder of data sets in their official layouts) they also deliver batches of each. Then NEW
continues, predicts and evaluates with the files that OLD wrote. Times, paths and dates are left out of the
comparison; the rest must be equal. Prints one line per comparison and exits with 1 if any differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SMALL = [
    "trainer.epochs=3", "trainer.save_dir=runs", "trainer.log_per_iter=4", "trainer.ema_decay=0.9",
    "trainer.clip_grad_norm=5.0", "trainer.accumulate_steps=2", "trainer.save_period=1",
    "train_loader.args.num_images=48", "val_loader.args.num_images=12", "arch.args.base_channels=4",
]  # fmt: skip
MODES = {
    "whole": ["--mode", "whole"],
    "sliding": ["--mode", "sliding", "--window", "64", "--window-margin", "4"],
    "multiscale": ["--mode", "multiscale", "--scales", "0.75", "1", "1.5"],
    "tta": ["--mode", "whole", "--tta", "identity", "hflip", "rot90", "transpose"],
}
AUGMENTED = {
    "base_size": 160, "crop_size": 96, "flip": True, "vertical_flip": True, "rotate": 15, "blur": True,
    "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 10, "elastic": True, "grid": True,
    "class_crop": 0.5, "batch_size": 2, "num_workers": 2,
}  # fmt: skip
DATA = {
    "VOC": ("VOCdevkit/VOC2012", "train", 3), "CamVid": ("camvid", "train", 3), "ADE20K": ("ade20k", "val", 1),
    "CityScapes": ("cityscapes", "train", 3), "COCO": ("cocostuff164k", "train", 3),
    "Carvana": ("carvana", "train", 3), "Clothes": ("clothing-co-parsing", "train", 3),
}  # fmt: skip
BATCHES = """
import sys, json, hashlib
sys.path.insert(0, sys.argv[1])
import dataloaders
name, args, count = json.loads(sys.argv[2])
loader = getattr(dataloaders, name)(**args)
loader.set_epoch(2)
for batch, _ in zip(loader, range(count)):
    content = batch.images.numpy().tobytes() + batch.target.numpy().tobytes()
    print(hashlib.sha256(content).hexdigest(), batch.image_ids)
"""
UNSTABLE = re.compile(
    r"\(\d+(\.\d+)? s\)|\d\d-\d\d_\d\d-\d\d(-\d\d)?(_\d+)?|\"?seconds\"?: [\d.]+|\d+(\.\d+)? (s|ms|minutes)\b"
    r"|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(,\d+)?|data wait \d+%|[\d.]+ images/s"
)


class Checkout:
    """Runs the programs of one checkout in a folder of its own."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root.resolve(), folder
        folder.mkdir(parents=True)

    def run(self, script: str, *arguments: str, expect: int = 0) -> str:
        command = [sys.executable, str(self.root / script), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != expect:
            sys.exit(f"{self.root}: {' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return self.stable(done.stdout + done.stderr)

    def stable(self, text: str) -> str:
        """Text without times, dates and this checkout's place."""
        return UNSTABLE.sub("", text.replace(str(self.folder), "").replace(str(self.root), ""))

    def tree(self, folder: str) -> dict[str, str]:
        """A digest of every file below a folder, by its name with dates removed."""
        found = {}
        for path in sorted((self.folder / folder).rglob("*")):
            if path.is_file() and "tfevents" not in path.name and path.name != "log.txt":
                found[UNSTABLE.sub("TIME", str(path.relative_to(self.folder / folder)))] = self.digest(path)
        return found

    def digest(self, path: Path) -> str:
        if path.suffix == ".pth":
            return checkpoint_digest(path)
        if path.suffix in (".json", ".jsonl", ".csv", ".txt", ".md", ".html"):
            return hashlib.sha256(self.stable(path.read_text(encoding="utf-8")).encode()).hexdigest()
        return hashlib.sha256(path.read_bytes()).hexdigest()


def checkpoint_digest(path: Path) -> str:
    """Of weights, optimizer, averages, random state, figures: all of a checkpoint but its config's text."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    total = hashlib.sha256()

    def add(value: Any, place: str) -> None:
        if isinstance(value, torch.Tensor):
            total.update(place.encode() + value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                if key not in ("config", "versions"):
                    add(value[key], f"{place}.{key}")
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                add(item, f"{place}[{index}]")
        else:
            total.update(f"{place}={value!r}".encode())

    add(state.get("state", state), "")
    return total.hexdigest()


def train(checkout: Checkout, config: str, name: str, *, kill: bool = False) -> dict[str, str]:
    """Train the small run; with ``kill`` it is stopped after its first epoch and resumed."""
    settings = [word for setting in [*SMALL, f"name={name}"] for word in ("--set", setting)]
    arguments = ["--config", config, *settings]
    if kill:
        command = [sys.executable, str(checkout.root / "train.py"), *arguments]
        child = subprocess.Popen(
            command, cwd=checkout.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while (
            not list((checkout.folder / "runs" / name).glob("*/checkpoint-epoch1.pth"))
            and child.poll() is None
        ):
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        arguments += ["--resume", "auto"]
    checkout.run("train.py", *arguments)
    return checkout.tree(f"runs/{name}")


def results(checkout: Checkout, config: str, data: Path | None) -> dict[str, Any]:
    """Everything that is compared, by name."""
    found: dict[str, Any] = {
        "training": train(checkout, config, "plain"),
        "resumed": train(checkout, config, "killed", kill=True),
    }
    found["--check"] = checkout.run(
        "train.py", "--config", config, "--check", "--set", "trainer.save_dir=checked"
    )
    photos = checkout.folder / "photos"
    draw_photos(photos)
    found |= predictions(checkout, "runs/plain", "new")
    checkout.run(
        "export.py", "--model", "runs/plain", "--format", "torchscript", "--output", "net.torchscript"
    )
    found["exported"] = predict(checkout, "net.torchscript", "exported", ["--trust", "--mode", "whole"])
    for name, (folder, split, count) in DATA.items() if data else ():
        args = {"data_dir": str(data / folder), "split": split, **AUGMENTED}
        code = [str(checkout.root), json.dumps([name, args, count])]
        command = [sys.executable, "-c", BATCHES, *code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{checkout.root}: batches of {name}: {done.stderr[-1000:]}")
        found[f"batches {name}"] = done.stdout
    if data:
        found["init_config"] = checkout.run("init_config.py", str(data / "membrane"), "-o", "membrane.json")
        found["init_config file"] = checkout.stable((checkout.folder / "membrane.json").read_text())
        found["check_data"] = checkout.run("check_data.py", "--config", "membrane.json")
    return found


def predictions(checkout: Checkout, run: str, title: str) -> dict[str, Any]:
    found = {
        f"{title} {mode}": predict(checkout, run, f"{title}_{mode}", options)
        for mode, options in MODES.items()
    }
    ensemble = ["--mode", "whole", "--rule", "majority", "--disagreement"]
    found[f"{title} ensemble"] = predict(checkout, f"{run} {run}", f"{title}_ensemble", ensemble)
    checkout.run("evaluate.py", "--model", run, "--output", f"{title}_report")
    found[f"{title} evaluation"] = checkout.tree(f"{title}_report")
    return found


def predict(checkout: Checkout, models: str, output: str, options: list[str]) -> dict[str, str]:
    extra = ["--overlay", "--colour", "--save-probabilities", "--rle", f"{output}.csv"]
    checkout.run(
        "inference.py", "--model", *models.split(), "--images", "photos", "--output", output, *extra, *options
    )
    return checkout.tree(output)


def draw_photos(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir()
    draw = np.random.default_rng(0)
    for number, (height, width) in enumerate([(64, 64), (97, 131), (150, 90)]):
        coarse = draw.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
        image.save(folder / f"photo{number}.png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--data", type=Path, help="folder of data sets: VOCdevkit, camvid, cityscapes, ...")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="same_results_"))
    config = str((args.old / "config.json").resolve())
    data = args.data and args.data.resolve()
    old, new = Checkout(args.old, work / "old"), Checkout(args.new, work / "new")
    before, after = results(old, config, data), results(new, config, data)
    # what OLD wrote: NEW continues a run that OLD was killed in, predicts and evaluates
    heir = Checkout(args.new, work / "heir")
    shutil.copytree(old.folder / "runs/plain", heir.folder / "runs/plain")
    draw_photos(heir.folder / "photos")
    after |= {
        name.replace("new", "old", 1): value for name, value in predictions(heir, "runs/plain", "new").items()
    }
    before |= {
        name.replace("new", "old", 1): value for name, value in before.items() if name.startswith("new ")
    }
    shutil.copytree(old.folder / "runs/plain", new.folder / "runs/unfinished")
    (run,) = (new.folder / "runs/unfinished").iterdir()
    new.run("train.py", "--resume", str(run / "checkpoint-epoch1.pth"))
    (first,) = (old.folder / "runs/plain").iterdir()
    before["OLD's run continued"] = checkpoint_digest(first / "last.pth")
    after["OLD's run continued"] = checkpoint_digest(run / "last.pth")
    different = [name for name in before if before[name] != after.get(name)]
    for name in before:
        print(f"{'DIFFERENT' if name in different else 'equal':<10} {name}")
        if name in different:
            show(before[name], after.get(name))
    if not different:
        shutil.rmtree(work)
    print(
        f"{len(before) - len(different)} of {len(before)} equal" + (f"; kept in {work}" if different else "")
    )
    return bool(different)


def show(old: Any, new: Any) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                print(f"    {key}: {old.get(key)} -> {new.get(key)}")
    else:
        print(f"    {old}\n    {new}")


if __name__ == "__main__":
    sys.exit(main())
