"""Segment images with trained models: ``python inference.py --model best_model.pth --images photos``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from utils.inference import command
from utils.system import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and segment; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    example = "python inference.py --model saved/RUN --images photos"
    return command.parse_arguments(argv, "Segment images with trained models.", example)


def run(args: argparse.Namespace) -> int:
    """Segment every image; return 0, or 1 if some of them failed."""
    from models.trained import predictor_of  # imports torch; --help answers at once

    return command.segment(args, predictor_of)


if __name__ == "__main__":
    sys.exit(main())
