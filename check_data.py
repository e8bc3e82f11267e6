"""Examine the data set of a config before training on it: ``python check_data.py --config config.json``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from utils.config.file import load_config
from utils.system import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and examine; return 0 where the data is ready, 2 where training would fail."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.make_parser(
        "Examine a data set: illegal mask values, unreadable and mismatched files, class "
        "shares, images in two splits. Exit code 2 where training would fail."
    )
    parser.add_argument("-c", "--config", default="config.json", help="config file (default: config.json)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a key")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Examine the data and print the report; return 2 where training would fail."""
    config = load_config(args.config, args.set)
    with cli.naming(args.config):
        from dataloaders.build import DataSections, batch_problems, examined_datasets

        sections = DataSections.of(config)
        datasets = examined_datasets(sections)
    from utils.survey.examine import examine
    from utils.survey.findings import Problem

    report = examine(datasets, allow_overlap=sections.allow_overlap)
    report.between += [Problem("batch_size", "error", line) for line in batch_problems(sections, datasets)]
    print(json.dumps(report.to_plain(), indent=1) if args.json else report.text())
    return 2 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
