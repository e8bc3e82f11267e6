"""Mutated configs and command lines: each must end with a documented exit code, without a traceback or a hang.

``python benchmarks/fuzz.py --count 2000`` mutates every shipped config and the command line of every script, in
one process. The same seed makes the same cases; tests/test_fuzz.py runs a part of them.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import io
import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SECONDS = 20  # of CPU time; a case that takes longer, or WAIT seconds by the clock, hangs
WAIT = 300
MEMORY = 6 * 2**30  # bytes that a case may take beyond what the process has
EXIT_CODES = {0, 1, 2, 3, 4}

ODD_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 10**9, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30,
    0.0, 0.5, -0.5, 1e-320, 1e39, -1e39, 1e300, "", " ", ".", "nan", "a\0b", "\ud800", "ü", "x" * 300, "[v2]",
    "a.b", [], [1], [1, 2, 3], [-1, 10**10], {}, {"type": "UNet"}, {"a": {"b": 1}}, [[[]]],
]  # fmt: skip
ODD_WORDS = [
    "", "0", "-1", "1", "7", "1e9", "1e-9", "1e39", "nan", "inf", "-inf", "1000000000", "9223372036854775808",
    "true", "null", " ", "ü", "\udcff", "[v2]", "**", "*", "x" * 300, "9" * 5000, "nothing.png", ",", "\n", "{",
    "[" * 3000,
]  # fmt: skip
TINY = {
    "name": "Tiny",
    "arch": {"type": "UNet", "args": {"base_channels": 2}},
    "train_loader": {
        "type": "Shapes",
        "args": {"split": "train", "num_images": 4, "image_size": 16, "batch_size": 2, "crop_size": 16},
    },
    "val_loader": {
        "type": "Shapes",
        "args": {"split": "val", "num_images": 2, "image_size": 16, "batch_size": 2, "val": True},
    },
    "optimizer": {"type": "AdamW", "args": {"lr": 0.002, "weight_decay": 0.0001}},
    "loss": {"type": "FocalLoss", "args": {"gamma": 2.0}},
    "lr_scheduler": {"type": "OneCycle", "args": {"div_factor": 25.0}},
    "seed": 3,
    "trainer": {"epochs": 2, "save_dir": "saved", "tensorboard": False, "monitor": "max Mean_IoU"},
}


class Case(NamedTuple):
    """One command.

    Attributes:
        script: module whose ``main`` is called.
        argv: its arguments.
        config: written to ``case.json`` first, if given.
    """

    script: str
    argv: list[str]
    config: str | None = None


class Hang(BaseException):
    """A case took too long; no ``except Exception`` may swallow it."""


def config_cases(draw: random.Random) -> Iterator[Case]:
    """Yield mutated configs without end: the tiny one is rehearsed, the shipped ones are parsed."""
    shipped = [
        load_plain(path) for path in sorted([ROOT / "config.json", *(ROOT / "configs").glob("*.json")])
    ]
    while True:
        tiny = draw.random() < 0.4
        config = json.loads(json.dumps(TINY if tiny else draw.choice(shipped)))
        for _ in range(draw.choice((1, 1, 2))):
            mutate(config, draw)
        text = json.dumps(config)
        if draw.random() < 0.1:
            place = draw.randrange(len(text))
            text = text[:place] + draw.choice(["", "\\", '"', "{", "/*", "\0", "}"]) + text[place + 1 :]
        yield Case("train", ["-c", "case.json", "-d", "cpu", "--check" if tiny else "--print-config"], text)


def load_plain(path: Path) -> dict[str, Any]:
    """Return a shipped config as plain values."""
    from utils.config.file import load_config

    return load_config(path)


def mutate(config: dict[str, Any], draw: random.Random) -> None:
    """Change one place of a config: an odd value, a missing key, or a key too many."""
    places = list(_places(config))
    node, key = draw.choice(places)
    kind = draw.random()
    if kind < 0.8:
        node[key] = copy.deepcopy(draw.choice(ODD_VALUES))
    elif kind < 0.9 and isinstance(node, dict):
        del node[key]
    elif isinstance(node, dict):
        node[draw.choice(["", "x", "type", "args", "a\0b", "lr"])] = copy.deepcopy(draw.choice(ODD_VALUES))


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from _places(node[key])


# a second command of a script has its name after a #
COMMANDS: dict[str, list[str]] = {
    "train": ["-c", "tiny.json", "-d", "cpu", "--check", "--set", "trainer.epochs=1", "--set", "seed=5"],
    "inference": [
        "-m", "m.pth", "-i", "in", "-o", "out", "-d", "cpu", "--mode", "sliding", "--scales", "1",
        "--window", "16", "--window-overlap", "0.5", "--window-margin", "1", "--window-batch", "2",
        "--max-whole-pixels", "4096", "--max-pixels", "4096", "--tta", "hflip", "--extension", "png",
        "--rle", "r.csv", "--rle-class", "1", "--rle-preset", "coco", "--weights", "1", "--precision", "fp32",
    ],
    "vote": ["-m", "m.pth", "m.pth", "-i", "in/a.png", "-o", "out", "-d", "cpu", "--mode", "multiscale",
             "--scales", "0.5", "--weights", "1", "2", "--rule", "mean", "--max-whole-pixels", "4096"],
    "evaluate": ["-m", "m.pth", "--config", "tiny.json", "--split", "val", "-o", "report", "-d", "cpu",
                 "--num-workers", "1", "--mode", "whole", "--window", "16"],
    "png2rle": ["--masks", "masks", "-o", "t.csv", "--preset", "carvana", "--class-index", "1", "--order", "rows",
                "--base", "1", "--header", "a", "b", "--separator", ";", "--suffix", ".jpg", "--empty", "none"],
    "init_config": ["in", "-o", "made.json", "--classes", "a,b", "--epochs", "3", "--force"],
    "check_data": ["-c", "tiny.json"],
    "export": ["-m", "m.pth", "-f", "torchscript", "-o", "m.torchscript", "--size", "16", "16"],
    "tools.show_batch": ["-c", "tiny.json", "-o", "b.png", "--batches", "1", "--epoch", "1", "--columns", "2"],
    "tools.config_docs": ["--version"],
    "train#resume": ["--resume", "run", "--extend", "3", "--allow-change", "-d", "cpu", "--check",
                     "--set", "optimizer.args.lr=0.1", "--set", "trainer.val=false"],
    "train#plot": ["-c", "tiny.json", "--plot-lr", "lr.png", "--set", "trainer.epochs=3", "--set", "arch.args={}"],
}  # fmt: skip


def command_cases(draw: random.Random) -> Iterator[Case]:
    """Yield mutated command lines without end."""
    while True:
        script = draw.choice(list(COMMANDS))
        argv = list(COMMANDS[script])
        for _ in range(draw.choice((1, 1, 2))):
            place = draw.randrange(len(argv))
            kind = draw.random()
            if kind < 0.1:
                del argv[place]
            elif kind < 0.2:
                argv.insert(place, draw.choice(ODD_WORDS))
            elif argv[place].startswith("-") and kind < 0.9:
                argv[min(place + 1, len(argv) - 1)] = draw.choice(ODD_WORDS)
            else:
                name, equals, _ = argv[place].partition("=")
                argv[place] = f"{name}={draw.choice(ODD_WORDS)}" if equals else draw.choice(ODD_WORDS)
            if not argv:
                break
        yield Case(script.partition("#")[0], argv)


def run_case(case: Case) -> str | None:
    """Run a case in this process and the current folder.

    Returns:
        ``None`` where it ended as documented, else what happened.
    """
    if case.config is not None:
        Path("case.json").write_text(case.config, encoding="utf-8", errors="surrogatepass")
    output = io.StringIO()
    try:
        with _alarm(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = importlib.import_module(case.script).main(case.argv)
    except SystemExit as error:
        code = error.code
    except Hang:
        return f"takes more than {SECONDS} s"
    except BaseException:
        return traceback.format_exc()
    if code not in EXIT_CODES:
        return f"exit code {code!r}"
    return output.getvalue() if "Traceback" in output.getvalue() else None


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = {number: signal.signal(number, ring) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[None]:
    """Work in a new folder with a model, images, masks and a config; limit the memory of the process."""
    import torch

    from utils.run.checkpoint import save_checkpoint

    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    back, level = Path.cwd(), logging.getLogger().level
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    threads = torch.get_num_threads()
    os.chdir(deep)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    try:
        _write_inputs(save_checkpoint)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
        os.chdir(back)
        for handler in logging.getLogger().handlers[:]:
            if type(handler).__module__.startswith("utils."):
                logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(level)


def _write_inputs(save: Callable[[Path, dict[str, Any]], None]) -> None:
    import numpy as np
    from PIL import Image

    from models.unet import UNet
    from utils.dataset_info import DatasetInfo, voc_palette

    classes = ("background", "circle", "square", "triangle", "star", "ring", "cross")
    info = DatasetInfo(classes, tuple(voc_palette(7)))
    model = UNet(7, base_channels=2)
    Path("tiny.json").write_text(json.dumps(TINY))
    state = {"model": model.state_dict(), "arch": TINY["arch"], "dataset": info.to_plain()}
    save(Path("m.pth"), {**state, "config": TINY, "crop_size": 16, "epoch": 1})
    draw = np.random.default_rng(0)
    for name in ("in", "masks"):
        Path(name).mkdir()
    Image.fromarray(draw.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save("in/a.png")
    Image.fromarray(draw.integers(0, 2, (20, 24), dtype=np.uint8)).save("masks/a.png")
    with contextlib.redirect_stderr(io.StringIO()):
        importlib.import_module("train").main(["-c", "tiny.json", "-d", "cpu", "--set", "trainer.epochs=1"])
    next(Path("saved/Tiny").iterdir()).rename("run")


def take(seed: int, count: int) -> list[Case]:
    """Return ``count`` cases, half of them configs."""
    draw = random.Random(seed)
    configs, commands = config_cases(draw), command_cases(draw)
    return [next(configs if number % 2 else commands) for number in range(count)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases and print every one that does not end as documented."""
    parser = argparse.ArgumentParser(description="Run mutated configs and command lines.")
    parser.add_argument("--count", type=int, default=2000, help="number of cases (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="start of the draws (default: 0)")
    args = parser.parse_args(argv)
    faults: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, sandbox(Path(folder)):
        for number, case in enumerate(take(args.seed, args.count)):
            fault = run_case(case)
            if fault is not None:
                kind = fault.strip().splitlines()[-1]
                if not faults[kind]:
                    print(
                        f"case {number}: {case.script} {case.argv} {case.config or ''}\n{fault}", flush=True
                    )
                faults[kind] += 1
    print(f"{args.count} cases, seed {args.seed}: {faults.total()} faults")
    for kind, count in faults.most_common():
        print(f"  {count} x {kind}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
