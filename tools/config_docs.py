"""Print or write the reference page of the config: ``python -m tools.config_docs --write``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, from any folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from utils.system import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "config.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and print or write; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args))


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.make_parser("Print the reference page of the config.")
    parser.add_argument("--write", action="store_true", help="write docs/config.md instead")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Print or write the page."""
    page = make_page()
    if args.write:
        PAGE.write_text(page, encoding="utf-8")
    else:
        print(page, end="")
    return 0


def make_page() -> str:
    """Return the page for the catalogues of this project."""
    from base import BaseDataLoader, BaseDataSet, BaseModel
    from dataloaders.build import DATA_SETS
    from models.build import MODELS
    from utils.augment.transform import SampleTransform
    from utils.config.factory import Catalogue
    from utils.config.reference import reference_page
    from utils.losses.build import LOSSES
    from utils.training.schedule import OWN_SCHEDULERS

    chapters: dict[str, Catalogue[Any]] = {
        "Models": MODELS, "Data sets": DATA_SETS, "Losses": LOSSES, "Learning-rate schedules": OWN_SCHEDULERS,
    }  # fmt: skip
    shared = {"Models": (BaseModel,), "Data sets": (BaseDataLoader, BaseDataSet, SampleTransform)}
    return reference_page(chapters, shared)


if __name__ == "__main__":
    sys.exit(main())
