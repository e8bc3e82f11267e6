"""Examine the data set of a config before training on it: ``python check_data.py --config config.json``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from utils.config.file import apply_overrides, load_config
from utils.errors import ConfigError
from utils.system import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 where the data is ready, 2 where training would fail."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Examine a data set: illegal mask values, unreadable and mismatched files, class "
        "shares, pictures in two splits. Exit code 2 where training would fail."
    )
    parser.add_argument("-c", "--config", default="config.json", help="config file (default: config.json)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a key")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    config = apply_overrides(load_config(args.config), args.set)
    with cli.naming(args.config):
        datasets = open_datasets(config)
    from utils.survey.examine import examine

    report = examine(datasets)
    print(json.dumps(report.to_plain(), indent=1) if args.json else report.text())
    return 2 if report.failed else 0


def open_datasets(config: dict[str, Any]) -> dict[str, Any]:
    """The data sets of a config by title: of ``train_loader``, and of ``val_loader`` or ``val_split``.

    Raises:
        ConfigError: the sections are missing or wrong.
        DataError: the files cannot even be listed.
    """
    import dataloaders
    from base import BaseDataLoader
    from utils.config.factory import build

    if not isinstance(config.get("train_loader"), dict):
        raise ConfigError("train_loader: missing; it says which data to examine")
    found: dict[str, Any] = {}
    for section in ("train_loader", "val_loader"):
        spec = config.get(section)
        if spec is None:
            continue
        # one image a batch: how many are needed is a question for training
        spec = {**spec, "args": {**spec.get("args", {}), "batch_size": 1, "num_workers": 0, "cache": None}}
        loader: BaseDataLoader = build(dataloaders, BaseDataLoader, spec, section)
        found[f"{section} ({loader.dataset.split})"] = loader.dataset
        rest = loader.get_val_loader()
        if rest is not None:
            found[f"{section} (val_split)"] = rest.dataset
    return found


if __name__ == "__main__":
    sys.exit(main())
