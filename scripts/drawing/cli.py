"""The command line of scripts/draw-data."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .dataset import read_kinds, write
from .report import census, sheet

SPLITS = {"train": 400, "test": 120}
SEED = 3  # of the bundled files


def _parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="draw-data",
        description="Draw the bundled cat / non-cat pictures (64x64x3, HDF5).",
    )
    add = parser.add_argument
    out = "folder of train.h5 and test.h5 (default: data); with --count, the file to write"
    add("--out", type=Path, help=out)
    seed = f"seed of every picture (default: {SEED}, the bundled files)"
    add("--seed", type=int, default=SEED, help=seed)
    count = "write one training file of N pictures to --out"
    add("--count", type=_positive, metavar="N", help=count)
    workers = "processes that draw (default: one a core)"
    add("--workers", type=_positive, default=os.cpu_count() or 1, help=workers)
    picture = "write a labelled contact sheet (of --count pictures) instead of data"
    add("--sheet", type=Path, metavar="PNG", help=picture)
    split = "which set --sheet shows (default: train)"
    add("--split", choices=sorted(SPLITS), default="train", help=split)
    kinds = "print the census of the files in --out instead of drawing"
    add("--census", action="store_true", help=kinds)
    return parser


def _positive(text: str) -> int:
    """Return a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Draw what the command line asks for; return the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.count and not args.sheet and args.out is None:
        parser.error("--count needs --out FILE.h5")
    try:
        _run(args)
    except (OSError, KeyError) as error:
        print(f"draw-data: {error}", file=sys.stderr)
        return 1
    return 0


def _run(args: argparse.Namespace) -> None:
    """Do the one thing that was asked for."""
    folder = args.out or Path("data")
    if args.census:
        print(census(*(read_kinds(folder / f"{split}.h5", split) for split in SPLITS)))
    elif args.sheet:
        sheet(args.sheet, args.seed, args.split, args.count or SPLITS[args.split])
        print(f"wrote {args.sheet}")
    elif args.count:
        # Light packing: a large file is drawn once and read often.
        write(args.out, args.seed, "train", args.count, args.workers, level=1)
        print(f"wrote {args.out}: {args.count} pictures")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for split, count in SPLITS.items():
            path = folder / f"{split}.h5"
            write(path, args.seed, split, count, args.workers)
            print(f"wrote {path}: {count} pictures, {path.stat().st_size} bytes")
