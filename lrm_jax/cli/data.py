# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Build a data set in the published on-disk format, or check one."""

import argparse

NAME = "data"
SUMMARY = "build a data set, seeded; check one"
EXAMPLE = (
    "lrm data build sudoku data/sudoku6 --side 6 --train-size 5000 --seed 1\n"
    "  lrm data check data/sudoku6"
)
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", metavar="build|check", required=True)
    build = actions.add_parser("build", help="write a data set folder")
    build.add_argument("kind", choices=["sudoku", "maze"], help="what to build")
    build.add_argument("out", metavar="OUT", help="folder to write")
    build.add_argument(
        "--side", type=int, default=9, help="of the grid: 4, 6 or 9; of the maze"
    )
    build.add_argument("--train-size", type=int, default=1000, help="puzzles to train")
    build.add_argument("--test-size", type=int, default=1000, help="puzzles to test")
    build.add_argument("--num-aug", type=int, default=0, help="augmented copies")
    build.add_argument("--seed", type=int, default=0, help="of everything random")
    build.add_argument(
        "--csv",
        metavar="PATH",
        help="take the puzzles from here; none are made",
    )
    check = actions.add_parser("check", help="validate a CSV or data set folder")
    check.add_argument("path", metavar="PATH", help="CSV or data set folder")
    check.add_argument(
        "--against", metavar="PATH", help="report puzzles isomorphic to one in here"
    )
