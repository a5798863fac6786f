# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Completions as text for a terminal or a notebook, in ANSI colours or without.

With colour: tags dim, the thought plain, the answer bold, unlikely tokens (below
one half) underlined, forced ones reversed.
"""

import math
from itertools import groupby
from operator import itemgetter

from lrm_jax.evaluation.samples import ANSWER, TAG, Sample, SampleGroup, reason, regions
from lrm_jax.evaluation.terminal import BOLD, DIM, RESET

UNDERLINED, REVERSED, GREEN, RED = "\x1b[4m", "\x1b[7m", "\x1b[32m", "\x1b[31m"
UNLIKELY = math.log(0.5)


def draw_group(
    group: SampleGroup, *, color: bool = False, most: int | None = None
) -> str:
    """Return a prompt and its completions, each under the verifier's verdict.

    Args:
      group: completions of one prompt.
      color: use ANSI codes; pass whether the output is a terminal.
      most: completions to show; None for all.
    """
    answer = f"  (answer {group.answer})" if group.answer else ""
    lines = [f"step {group.step}, {group.split}: {_plain(group.prompt)}{answer}"]
    shown = group.samples[:most]
    for sample in shown:
        lines += ["", _heading(sample, group.answer, color)]
        lines.append(draw_completion(sample, group.prompt, color=color))
    left_out = len(group.samples) - len(shown)
    return "\n".join([*lines, *([f"\n({left_out} more)"] if left_out else [])])


def draw_completion(sample: Sample, prompt: str = "", *, color: bool = False) -> str:
    """Return one completion's text; control characters in it are not sent on."""
    if not color:
        return _plain("".join(sample.tokens))
    codes = map(_codes, sample.logps, sample.forced, regions(sample, prompt))
    drawn = ""
    for code, run in groupby(zip(codes, sample.tokens, strict=True), itemgetter(0)):
        text = _plain("".join(token for _, token in run))
        drawn += f"{code}{text}{RESET}" if code and text else text
    return drawn


def _heading(sample: Sample, answer: str, color: bool) -> str:
    mark = "+" if sample.verdict == "right" else "-"
    text = f"{mark} {_plain(reason(sample, answer))}"
    if color:
        text = f"{GREEN if mark == '+' else RED}{text}{RESET}"
    if sample.advantage is not None:
        text += f"  advantage {sample.advantage:+.2f}"
    return text + f"  reward {sample.reward:g}  {len(sample.tokens)} tokens"


def _codes(logp: float, forced: bool, region: str) -> str:
    codes = {TAG: DIM, ANSWER: BOLD}.get(region, "")
    codes += UNDERLINED if logp < UNLIKELY and not forced else ""
    return codes + (REVERSED if forced else "")


def _plain(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in text)
