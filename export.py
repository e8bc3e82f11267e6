"""Export a trained model: ``python export.py --model best_model.pth --format onnx``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import CheckpointError, ConfigError, ExportError, StorageError
from utils.run.find import find_checkpoint
from utils.system import cli
from utils.system.files import replacing

if TYPE_CHECKING:
    from torch import nn

    from utils.export.contract import ExportFacts

# torch and the packages that import it are imported in functions: --help answers at once


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and export; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = cli.make_parser(
        "Write a trained model as a file that runs without this program, and compare the two."
    )
    parser.add_argument("-m", "--model", required=True, help="checkpoint, or the folder of a run")
    parser.add_argument("-f", "--format", choices=("onnx", "torchscript", "torch-export"), default="onnx")
    parser.add_argument(
        "-o", "--output", help="the file (default: beside the checkpoint; .onnx, .torchscript or .pt2)"
    )
    parser.add_argument(
        "--opset", type=int, help="version of the ONNX operators, from 11 on (default: the exporter's)"
    )
    parser.add_argument(
        "--size", type=int, nargs="+", default=[], metavar="PIXELS",
        help="height and width (any number of pairs) to compare at, besides the usual ones",
    )  # fmt: skip
    parser.add_argument(
        "--trust",
        action="store_true",
        help="import the class outside the catalogue that the checkpoint names",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Export, read back, compare, and only then give the file its name."""
    from utils.export.contract import SUFFIXES

    suffix = SUFFIXES[args.format]
    cli.require_ranges(args, opset=(11, 100), size=(1, 32767))
    sizes = _pairs(args.size)
    if args.opset is not None and args.format != "onnx":
        raise ConfigError(f"--opset is for --format onnx, not for {args.format}")
    source = find_checkpoint(Path(args.model))
    output = Path(args.output or source.with_suffix(suffix))
    if output.suffix.lower() != suffix:
        raise ConfigError(f"--output {output}: a file of --format {args.format} ends in {suffix}")

    from utils.export.write import check_packages, write_model
    from utils.run.trust import checkpoint_names

    check_packages(args.format)
    with checkpoint_names(args.model, source, trust=args.trust):
        model, facts = load(source)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output, suffix) as temporary:
            temporary.touch()  # before minutes of work
            in_channels = facts.info.in_channels
            write_model(model, in_channels, temporary, args.format, facts.to_strings(), args.opset)
            verify(model, facts, temporary, output, sizes)
    except OSError as error:
        raise StorageError(f"{output}: could not be written ({error.strerror or error})") from error
    print(f"{output}: {output.stat().st_size / 2**20:.1f} MB, {args.format}")
    return 0


def load(path: Path) -> tuple[nn.Module, ExportFacts]:
    """Return the trained network, with its averaged weights where it has them, and the facts for the file.

    Raises:
        CheckpointError: it cannot be used.
    """
    from models.trained import model_from_checkpoint, naming
    from utils.export.contract import ExportFacts
    from utils.run.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    with naming(str(path)):
        model, info = model_from_checkpoint(checkpoint)
    model = model.float().eval().requires_grad_(False)
    crop_size, arch, flip = checkpoint.get("crop_size"), checkpoint["arch"], checkpoint.get("flip")
    pairs, version = checkpoint.get("flip_pairs") or (), checkpoint.get("architecture_version", 1)
    return model, ExportFacts(
        info, model.stride, crop_size, arch, flip=flip, flip_pairs=pairs, architecture_version=version
    )


def verify(
    model: nn.Module, facts: ExportFacts, file: Path, output: Path, sizes: list[tuple[int, int]]
) -> None:
    """Print how the file compares with the network at several sizes.

    Raises:
        ExportError: they differ, or the file does not carry what it should.
    """
    from utils.export.compare import HEADER, check_sizes, compare
    from utils.export.contract import exported_format
    from utils.export.load import load_exported
    from utils.export.write import OTHER

    other = OTHER[str(exported_format(file))]
    try:
        exported, carried = load_exported(file, trust=True)
    except CheckpointError as error:
        reason = str(error).removeprefix(f"{file}: ")
        raise ExportError(f"{output}: was not written: {reason}. Try --format {other}") from error
    if carried.to_strings() != facts.to_strings():
        raise ExportError(f"{output}: was not written: the file does not carry the facts of the model")
    print(HEADER)
    failed = []
    for shape in check_sizes(facts.stride, sizes):
        parity = compare(model, exported, facts.info.in_channels, shape)
        print(parity.row(), flush=True)
        if not parity.holds:
            failed.append("x".join(map(str, shape)))
    if failed:
        raise ExportError(
            f"{output}: was not written: the exported network gives other logits at {', '.join(failed)}; its "
            f"forward pass seems to decide by the size or the content of the images. Try --format {other}"
        )


def _pairs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2 or any(number < 1 for number in numbers):
        raise ConfigError("--size: pairs of height and width, each at least 1, are expected")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


if __name__ == "__main__":
    sys.exit(main())
