# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Accuracy against compute, from what `lrm search --json` wrote.

Claim: none of its own; it shows whether a search buys more than the same tokens,
FLOPs or seconds spent without one (the plot of Snell et al. 2024, arXiv 2408.03314,
figure 1, and of Brown et al. 2024, arXiv 2407.21787).
Command: lrm search RUN --json > a.json; python -m experiments.figure_compute a.json
b.json ... --out FOLDER; LABEL=FILE names a line, files of one label are its seeds.
Device: any; a second. No model runs.
Expected: `compute.png` and `compute.md` in FOLDER.
"""

import argparse
import json
import sys
from pathlib import Path

from lrm_jax.evaluation.compute_plots import (
    compute_points,
    compute_table,
    plot_accuracy_by_compute,
)
from lrm_jax.types import UserError


def read(argument: str, several: bool) -> tuple[str, dict]:
    """Return label and content of `LABEL=FILE`, or of `FILE` under its own name."""
    label, named, path = argument.partition("=")
    if not named:
        label, path = Path(argument).stem if several else "", argument
    try:
        return label, json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def write(files: list[str], out: Path, title: str = "") -> str:
    """Write picture and table; return the table."""
    points = compute_points([read(file, len(files) > 1) for file in files])
    picture, table = (
        plot_accuracy_by_compute(points, title=title),
        compute_table(points),
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "compute.png").write_bytes(picture)
    (out / "compute.md").write_text(table)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="[LABEL=]FILE")
    parser.add_argument("--out", type=Path, default=Path("runs/figure_compute"))
    parser.add_argument("--title", default="")
    args = parser.parse_args()
    try:
        print(write(args.files, args.out, args.title), end="")
    except UserError as error:
        sys.exit(f"figure_compute: {error}")
    print(f"written: {args.out}/compute.png, {args.out}/compute.md", file=sys.stderr)


if __name__ == "__main__":
    main()
