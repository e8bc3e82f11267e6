"""Draw batches of a config as the network sees them: ``python show_batch.py --config config.json``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from utils.config.file import apply_overrides, load_config
from utils.errors import ConfigError
from utils.system import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and draw; returns the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Draw training or validation batches, augmented as in training, with their labels."
    )
    parser.add_argument("-c", "--config", default="config.json", help="config file (default: config.json)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a key")
    parser.add_argument("-o", "--output", type=Path, default=Path("batch.png"), help="picture to write")
    parser.add_argument("--val", action="store_true", help="validation batches instead of training ones")
    parser.add_argument("--batches", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--epoch", type=int, default=1, help="epoch whose draws to show (default: 1)")
    parser.add_argument("--columns", type=int, default=2, help="samples beside each other (default: 2)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    config = apply_overrides(load_config(args.config), args.set)
    import dataloaders
    from base import BaseDataLoader
    from utils.config.factory import build
    from utils.report.sheets import contact_sheet

    section = "val_loader" if args.val and config.get("val_loader") else "train_loader"
    with cli.naming(args.config):
        if not isinstance(config.get(section), dict):
            raise ConfigError(f"{section}: missing; it says which data to show")
        loader = build(dataloaders, BaseDataLoader, config[section], section, seed=config.get("seed", 0))
    if args.val and section == "train_loader":
        rest = loader.get_val_loader()
        if rest is None:
            raise ConfigError(f"{args.config}: has neither val_loader nor val_split")
        loader = rest
    loader.set_epoch(args.epoch)
    batches = list(islice(iter(loader), args.batches))
    images = [image.numpy() for batch in batches for image in batch.images]
    labels = [label.numpy() for batch in batches for label in batch.target]
    names = [name for batch in batches for name in batch.image_ids]
    from PIL import Image

    args.output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(images, labels, names, loader.info, args.columns)).save(args.output)
    print(f"{len(names)} samples of {section} in {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
