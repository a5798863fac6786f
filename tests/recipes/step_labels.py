# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sums written step by step, some steps of which are wrong, with exact labels."""

import json
import random


def solution(rng, *, wrong=0.4):
    """Four numbers added up; from a wrong step on all labels are 0."""
    numbers = [rng.randrange(1, 10) for _ in range(4)]
    steps, labels, total, right = [], [], numbers[0], True
    for number in numbers[1:]:
        after = total + number
        if rng.random() < wrong / 2:
            after, right = after + rng.choice((-1, 1, 2)), False
        steps.append(f"{total}+{number}={after}")
        labels.append(float(right))
        total = after
    return {
        "prompt": ",".join(map(str, numbers)) + "=",
        "steps": steps,
        "labels": labels,
    }


def write_labels(path, count, seed=0):
    """Write a file of so many solutions."""
    rng = random.Random(seed)
    rows = [json.dumps(solution(rng)) + "\n" for _ in range(count)]
    path.write_text("".join(rows))
    return path
