"""Damaged and odd files for ``init_from``: each must be loaded, or refused as a CheckpointError.

``python benchmarks/fuzz_weights.py --count 600`` cuts files, flips their bits, fills them with other content, and
puts values of wrong types into them. The same seed makes the same files; tests/test_fuzz.py reads a part of them.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from models.unet import UNet  # noqa: E402
from utils.dataset_info import DatasetInfo, voc_palette  # noqa: E402
from utils.errors import CheckpointError  # noqa: E402
from utils.run.checkpoint import save_checkpoint  # noqa: E402
from utils.training.finetune import start_from  # noqa: E402

INFO = DatasetInfo(("a", "b", "c"), tuple(voc_palette(3)))
ODD: list[Any] = [
    None, True, 0, -1, 2**63, 2**70, 1.5, float("nan"), "", "x", b"x", [], [1], {}, {"a": 1}, {1: 2}, (1, 2), [[]],
    torch.ones(2), torch.ones(0), torch.tensor(1), torch.ones(2, dtype=torch.complex64),
    torch.ones(3, device="meta"),
    torch.ones(2, 2).to_sparse(), torch.ones(2, dtype=torch.bool), {"state_dict": None}, {"state_dict": {"w": 1}},
]  # fmt: skip


def make_model() -> UNet:
    """Return the network that the files start."""
    return UNet(3, base_channels=1)


def write_files(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Path]]:
    """Yield ``count`` files, each with the kind of its damage; the file is overwritten by the next one.

    Args:
        folder: where to write.
        seed: start of the draws.
        count: number of files.
    """
    draw = random.Random(seed)
    whole = list(_whole_files(folder))
    damages: list[Callable[[bytes, random.Random], bytes]] = [_cut, _flip, _overwrite, _insert, _replace]
    path = folder / "damaged.pth"
    for number in range(count):
        if number % 3 == 2:
            torch.save(_odd_state(draw), path)
            yield "odd values", path
        else:
            damage = draw.choice(damages)
            path.write_bytes(damage(draw.choice(whole), draw))
            yield damage.__name__.strip("_"), path


def _whole_files(folder: Path) -> Iterator[bytes]:
    """Yield files of weights: a checkpoint of this project, and those of other programs in both formats."""
    weights = make_model().state_dict()
    path = folder / "whole.pth"
    save_checkpoint(
        path, {"model": weights, "arch": {"type": "UNet"}, "dataset": INFO.to_plain(), "epoch": 1}
    )
    yield path.read_bytes()
    for content in (weights, {"state_dict": weights, "epoch": 3}):
        for archive in (True, False):
            torch.save(content, path, _use_new_zipfile_serialization=archive)
            yield path.read_bytes()


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 4, 64))):
        # the structure of a file is at its ends and between the tensors
        place = draw.choice((draw.randrange(len(changed)), draw.randrange(2000), -1 - draw.randrange(2000)))
        changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(content)), draw.choice((1, 16, 512, 8192))
    return content[:start] + draw.choice((b"\0", b"\xff", b"."))[:1] * length + content[start + length :]


def _insert(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + draw.randbytes(draw.choice((1, 7, 300))) + content[start:]


def _replace(content: bytes, draw: random.Random) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", draw.choice((b"", b"\x80\x02.", draw.randbytes(60))))
    others = (
        b"", b"\0" * 999, b"<!DOCTYPE html><html>404</html>", b"\n<html>", b"version https://git-lfs", b"{}",
        draw.randbytes(500), b"\x80\x02}q\0.", b"\x80\x04N.", archive.getvalue(), content[::-1], content * 2,
    )  # fmt: skip
    return draw.choice(others)


def _odd_state(draw: random.Random) -> Any:
    """Return weights with values of wrong types at up to three places."""
    weights: dict[Any, Any] = dict(make_model().state_dict())
    state: dict[Any, Any] = {
        "model": weights,
        "arch": {"type": "UNet"},
        "dataset": INFO.to_plain(),
        "ema": None,
    }
    for _ in range(draw.choice((1, 2, 3))):
        place = draw.random()
        if place < 0.4:
            weights[draw.choice([*weights, "x", 3, None])] = draw.choice(ODD)
        elif place < 0.7:
            state[draw.choice([*state, "state_dict", "format", 3])] = draw.choice(ODD)
        else:
            state["dataset"] = {
                **INFO.to_plain(),
                draw.choice(["classes", "mean", "palette"]): draw.choice(ODD),
            }
    return draw.choice((state, state, {"state_dict": weights}, weights, draw.choice(ODD)))


def fault_of(path: Path) -> str | None:
    """Start a network from a file.

    Returns:
        ``None`` where it was loaded or refused as documented, else the traceback.
    """
    try:
        start_from(str(path), make_model(), INFO)
    except CheckpointError as error:
        return None if "\n" not in str(error) else f"more than a line: {error}"
    except Exception:
        return traceback.format_exc()
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Read the files and print every one that does not end as documented."""
    parser = argparse.ArgumentParser(description="Start a network from damaged files.")
    parser.add_argument("--count", type=int, default=600, help="number of files (default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="start of the draws (default: 0)")
    args = parser.parse_args(argv)
    faults: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, path) in enumerate(write_files(Path(folder), args.seed, args.count)):
            fault = fault_of(path)
            if fault is not None:
                last = fault.strip().splitlines()[-1]
                if not faults[last]:
                    print(f"file {number} ({kind})\n{fault}", flush=True)
                faults[last] += 1
    print(f"{args.count} files, seed {args.seed}: {faults.total()} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
