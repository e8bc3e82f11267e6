"""Let several models vote: ``python vote.py --model a.pth b.pth --images photos``.

The command line is that of inference.py, whose ``--model a.pth b.pth`` does the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from utils.errors import ConfigError
from utils.inference import command
from utils.system import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and segment; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    example = "python vote.py --model saved/A saved/B --images photos"
    return command.parse_arguments(argv, "Segment images with an ensemble of trained models.", example)


def run(args: argparse.Namespace) -> int:
    """Segment every image with all models together; return 0, or 1 if some images failed."""
    if len(args.model) < 2:
        raise ConfigError("--model: a vote needs two or more models")
    from models.trained import predictor_of  # imports torch; --help answers at once

    return command.segment(args, predictor_of)


if __name__ == "__main__":
    sys.exit(main())
