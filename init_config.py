"""Look at a folder of images and masks and write a config for it: ``python init_config.py FOLDER``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.errors import ConfigError
from utils.survey.network import WANTED
from utils.system import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and write the config; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.make_parser(
        "Find the images and masks below a folder, look at the masks, and write a config."
    )
    parser.add_argument("folder", type=Path, help="folder that holds the images and the masks")
    parser.add_argument("-o", "--output", type=Path, help="config to write (default: FOLDER's name.json)")
    parser.add_argument("--classes", help="class names in the order of the values found, separated by commas")
    parser.add_argument("--epochs", type=int, help="epochs to train (default: enough for a first model)")
    parser.add_argument(
        "--network",
        choices=WANTED,
        default="auto",
        help="unet, pretrained (an encoder of timm with weights from pip), or auto: by the images and by "
        "what is installed (default)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Write the config and print what was found."""
    cli.require_ranges(args, epochs=(1, 1e6))
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in args.folder.resolve().name) or "data"
    output: Path = args.output or Path(f"{name}.json")
    _refuse_existing(output, args.force)
    from utils.survey.lists import pair_lists
    from utils.survey.probe import probe
    from utils.survey.propose import describe_proposal, make_config, propose_network

    found = probe(args.folder)
    names = None if args.classes is None else [part.strip() for part in args.classes.split(",")]
    network = propose_network(found, args.network)
    list_file, lists = pair_lists(found, args.folder, output)
    config = make_config(found, args.folder, name, args.epochs, names, list_file, network)
    for path, text in lists.items():
        _refuse_existing(path, args.force)
        path.write_text(text, encoding="utf-8")
    output.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    print(describe_proposal(found, config))
    print(network.reason)
    print(f"\nWrote {output}. Next:\n  python check_data.py --config {output}")
    print(f"  python train.py --config {output}")
    print(f"  python inference.py --model saved/{config['name']} --images YOUR_IMAGES --overlay")
    return 0


def _refuse_existing(path: Path, force: bool) -> None:
    """Check that a file may be written.

    Raises:
        ConfigError: it exists.
    """
    if path.exists() and not force:
        raise ConfigError(f"{path}: exists; choose another --output, or add --force")


if __name__ == "__main__":
    sys.exit(main())
