# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Where a completion is asked to put its answer: tags, `\boxed`, `####`, or bare."""

from typing import Literal

from lrm_jax.data.verify.extract import boxed_answers, last_boxed
from lrm_jax.data.verify.tags import (
    THINK_CLOSE,
    THINK_OPEN,
    Tagged,
    after_thought,
    split_tags,
    text_of_thought,
    worked,
)

Form = Literal["tags", "boxed", "hashes", "bare"]
_HASHES = "####"

INSTRUCTIONS: dict[Form, str] = {
    "tags": "\n\nThink step by step between <think> and </think>, then give only the "
    "final answer between <answer> and </answer>.",
    "boxed": "\n\nReason step by step, and put your final answer within \\boxed{}.",
    "hashes": "\n\nReason step by step, and end with the final answer behind ####.",
    "bare": "",
}


def read_form(completion: str, form: Form) -> Tagged:
    """Take a completion of a form apart.

    `boxed` and `hashes` ask for exactly one mark after the thought; think tags may
    be missing, and what stands before the mark is then the thought. `bare` takes all
    that follows the thought as the answer.
    """
    if form == "tags":
        return split_tags(completion)
    thought = text_of_thought(completion)
    rest = after_thought(completion)
    in_order = _thought_in_order(completion)
    if form == "bare":
        answer = rest.strip()
        return Tagged(thought, answer if in_order else None, in_order)
    if form == "boxed":
        answer = last_boxed(rest) if boxed_answers(rest) == 1 else None
        before = rest.partition("\\boxed")[0]
    else:
        before, _, tail = rest.partition(_HASHES)
        answer = tail.strip() if rest.count(_HASHES) == 1 else None
    thought = thought or before
    if answer is None or not in_order:
        return Tagged(thought, None, False)
    return Tagged(thought, answer.strip(), True)


def _thought_in_order(completion: str) -> bool:
    """Whether there is no thought tag, or one pair at the start."""
    counts = completion.count(THINK_OPEN), completion.count(THINK_CLOSE)
    if counts == (0, 0):
        return True
    return counts == (1, 1) and completion.lstrip().startswith(THINK_OPEN)


def write_form(thought: str, answer: str, form: Form) -> str:
    """Return a worked completion in a form."""
    if form == "tags":
        return worked(thought, answer)
    if form == "boxed":
        return f"{thought}\n\\boxed{{{answer}}}"
    return f"{thought}\n{_HASHES} {answer}" if form == "hashes" else answer
