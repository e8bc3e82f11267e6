"""Turn index masks into a table of run lengths: ``python png2rle.py --masks outputs --output runs.csv``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from utils.errors import ConfigError, DataError
from utils.system import cli

if TYPE_CHECKING:
    from utils.images.rle import RleFormat
    from utils.inference.inputs import ImageFile

# numpy and the packages that import it are imported in functions: --help answers at once


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and convert; return the exit code of the process."""
    args = parse_arguments(argv)
    return cli.run(lambda: run(args), debug=args.debug)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = cli.make_parser("Turn index masks into a table of run lengths, or back.")
    parser.add_argument(
        "-m", "--masks", default="outputs", help="folder, pattern or list of index masks (default: outputs)"
    )
    parser.add_argument(
        "-o",
        "--output",
        default="test_a_result.csv",
        help="the table (default: test_a_result.csv); with --decode the folder for the masks",
    )
    parser.add_argument("-p", "--preset", default="carvana", help="tianchi, carvana (default) or coco")
    parser.add_argument("--class-index", type=int, default=1, help="mask value that is encoded (default: 1)")
    parser.add_argument("--order", choices=("columns", "rows"), help="how pixels are numbered")
    parser.add_argument("--base", type=int, choices=(0, 1), help="number of the first pixel")
    parser.add_argument("--header", nargs="*", metavar="NAME", help="two column names, or none: no header")
    parser.add_argument("--separator", help="between the columns; 'tab' for a tabulator")
    parser.add_argument("--suffix", help="what follows the stem in the table, as in .jpg; '' for nothing")
    parser.add_argument("--empty", help="code of a mask without a pixel")
    parser.add_argument(
        "--sample", metavar="FILE", help="write the rows in the order of this sample submission"
    )
    parser.add_argument("--decode", metavar="FILE", help="turn this table into masks of the sizes of --masks")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Encode, or decode with ``--decode``."""
    from utils.images.rle import find_format
    from utils.inference.inputs import find_images

    fmt = find_format(
        args.preset,
        order=args.order,
        base=args.base,
        header=None if args.header is None else tuple(args.header),
        separator="\t" if args.separator == "tab" else args.separator,
        extension=args.suffix,
        empty=args.empty,
    )
    masks = [m for m in find_images(args.masks, ["png", "gif", "bmp", "tif"]) if _is_mask(m.relative)]
    if not masks:
        raise DataError(f"--masks {args.masks}: no mask there")
    return decode_table(args, fmt, masks) if args.decode else encode_masks(args, fmt, masks)


def encode_masks(args: argparse.Namespace, fmt: RleFormat, masks: list[ImageFile]) -> int:
    """Write the table of all masks; return the exit code."""
    from utils.images.masks import read_mask
    from utils.images.rle import RleTable, read_table

    if not 0 <= args.class_index < 255:
        raise ConfigError("--class-index: 0 to 254")
    table = RleTable(args.output, fmt, args.class_index)
    for mask in masks:
        table.add(mask.relative, read_mask(mask.path))
    if args.sample:
        table.sort(list(read_table(args.sample, fmt)))
    table.save()
    print(f"{args.output}: {len(masks)} masks")
    return 0


def decode_table(args: argparse.Namespace, fmt: RleFormat, masks: list[ImageFile]) -> int:
    """Write a 0/1 mask for every row of a table; each has the size of the mask of the same name."""
    from PIL import Image

    from utils.images.header import image_size
    from utils.images.rle import decode, read_table
    from utils.system.files import readable, write_atomically

    sizes = {
        readable(mask.relative.with_suffix("").as_posix()) + (fmt.extension or ""): mask for mask in masks
    }
    table = read_table(args.decode, fmt)
    for name, code in table.items():
        if name not in sizes:
            raise DataError(f"{args.decode}: {name}: --masks has no image of this name to take the size from")
        try:
            mask = decode(code, image_size(sizes[name].path), fmt)
        except DataError as error:
            raise DataError(f"{args.decode}: {name}: {error}") from error
        target = Path(args.output) / sizes[name].relative.with_suffix(".png")
        write_atomically(target, partial(Image.fromarray(mask).save, format="PNG"))
    print(f"{args.output}: {len(table)} masks")
    return 0


def _is_mask(name: PurePath) -> bool:
    """Return whether a file is a mask, and not another output of inference.py."""
    return not name.name.endswith((".colour.png", ".ids.png", ".disagreement.png"))


if __name__ == "__main__":
    sys.exit(main())
