"""Draw batches of a config as the network sees them: ``python -m tools.show_batch --config config.json``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file, from any folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from utils.config.file import load_config
from utils.errors import ConfigError
from utils.system import cli

_FORMATS = (".png", ".jpg", ".jpeg")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and draw; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.make_parser(
        "Draw training or validation batches, augmented as in training, with their labels."
    )
    parser.add_argument("-c", "--config", default="config.json", help="config file (default: config.json)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a key")
    parser.add_argument("-o", "--output", type=Path, default=Path("batch.png"), help="image to write")
    parser.add_argument("--val", action="store_true", help="validation batches instead of training ones")
    parser.add_argument("--batches", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--epoch", type=int, default=1, help="epoch whose draws to show (default: 1)")
    parser.add_argument("--columns", type=int, default=2, help="samples side by side (default: 2)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Draw the batches and write the image."""
    if (
        min(args.batches, args.epoch, args.columns) < 1
        or max(args.batches, args.epoch, args.columns) > 10_000
    ):
        raise ConfigError("--batches, --epoch and --columns: whole numbers between 1 and 10000 are expected")
    if args.output.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--output {args.output}: the name must end in {', '.join(_FORMATS)}")
    config = load_config(args.config, args.set)
    with cli.naming(args.config):
        from dataloaders.build import DataSections, shown_loader

        loader, section = shown_loader(DataSections.of(config), val=args.val)
    from utils.report.sheets import draw_batches

    count = draw_batches(loader, args.output, epoch=args.epoch, batches=args.batches, columns=args.columns)
    print(f"{count} samples of {section} in {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
