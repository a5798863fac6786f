# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How long a policy may think, by the texts that its tokenizer writes."""

import dataclasses
from collections.abc import Sequence

from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.data.verify.rewards import FREE
from lrm_jax.data.verify.tags import THINK_CLOSE, THINK_OPEN, open_thought
from lrm_jax.reasoning.budget import ThinkingBudget
from lrm_jax.reasoning.token_budget import ThinkingTags, TokenBudget, token_budgets
from lrm_jax.types import UserError

Budget = str | int | ThinkingBudget

WAIT = "Wait"
"""Of s1 (arXiv 2501.19393)."""


@dataclasses.dataclass(frozen=True)
class Thinking:
    """How long to think, the same for every row.

    Attributes:
      budget: see `ThinkingBudget`, in tokens.
      minimum: least tokens of a thought.
      wait: takes the place of an end that comes before `minimum`; where it is empty,
        or the vocabulary cannot write it, ends are not drawn before.
      cap: the most tokens that a budget may mean; all of a completion's by default.
    """

    budget: Budget = "-1"
    minimum: int = 0
    wait: str = WAIT
    cap: int | None = None

    def bound(self, max_new: int) -> int:
        """Return the most tokens of a thought, `FREE` (-1) where it is not bounded.

        Raises:
          UserError: the budget is none, or the minimum beyond it.
        """
        cap = self.cap or max_new
        budget = ThinkingBudget.parse(self.budget, unit="tokens")
        most, early_stop = budget.resolve(cap)
        if not 0 <= self.minimum <= most:
            raise UserError(
                f"min_thinking={self.minimum}: budget {str(budget)!r} with a cap of "
                f"{cap} allows {most} tokens of thought; expected 0 to {most}"
            )
        return FREE if early_stop == "rule" else most


def refuse_cut_thoughts(thinking: Thinking | None, tokenizer: Tokenizer) -> None:
    """Refuse to learn from thoughts whose early ends are left out of what is drawn.

    The trainer scores every token, so that its ratios would be off by what was kept,
    as with top-p. An end that is replaced by `wait` leaves nothing out.

    Raises:
      UserError: names the key and what is accepted.
    """
    if thinking is None:
        return
    spelling = str(ThinkingBudget.parse(thinking.budget, unit="tokens"))
    if spelling.isdigit() and spelling != "0":
        raise UserError(
            f"grpo.budget={spelling}: an exact thought leaves its early ends out of "
            "what is drawn, but the trainer scores all tokens, so every ratio is off; "
            f"use {spelling}+halt"
        )
    if thinking.minimum and not _written(tokenizer, thinking.wait):
        raise UserError(
            f"grpo.min_thinking={thinking.minimum}: the vocabulary cannot write "
            f"grpo.wait={thinking.wait!r}, so early ends are left out of what is "
            "drawn, but the trainer scores all tokens; name a wait that it can write"
        )


def thinking_tags(tokenizer: Tokenizer, wait: str = "") -> ThinkingTags | None:
    """Return the tags of a thought as ids; None where the vocabulary lacks them.

    Qwen3 and its like write two newlines into an empty thought and after its end.

    Args:
      tokenizer: of the policy.
      wait: text of the tag `wait`; none where the vocabulary cannot write it.
    """
    opened, closed = _written(tokenizer, THINK_OPEN), _written(tokenizer, THINK_CLOSE)
    if not (opened and closed):
        return None
    around = _written(tokenizer, "\n\n") if hasattr(tokenizer, "folder") else ()
    waiting = _written(tokenizer, wait) if wait else ()
    return ThinkingTags(opened, closed, wait=waiting, empty=around, after=around)


def compile_thinking(
    thinking: Thinking,
    tokenizer: Tokenizer,
    token_bytes: Sequence[bytes],
    prompts: Sequence[Sequence[int]],
    *,
    max_new: int,
) -> TokenBudget:
    """Return the budgets of completions of prompts, one a prompt.

    Args:
      thinking: of all of them.
      tokenizer: of the policy.
      token_bytes: what each id writes.
      prompts: ids; one may end inside a thought (some templates open it).
      max_new: the most tokens of a completion.
    """
    wait = thinking.wait if thinking.minimum else ""
    tags = thinking_tags(tokenizer, wait)
    if tags is None:
        raise UserError(
            f"budget {thinking.budget!s}: the vocabulary has no {THINK_OPEN} and "
            f"{THINK_CLOSE}, so there is no thought to bound"
        )
    thinking.bound(max_new)
    texts = [tokenizer.decode(prompt) for prompt in prompts]
    return token_budgets(
        [thinking.budget] * len(texts),
        tags,
        token_bytes,
        cap=thinking.cap or max_new,
        opened=[text.rfind(THINK_OPEN) > text.rfind(THINK_CLOSE) for text in texts],
        closed=[THINK_CLOSE in open_thought(text) for text in texts],
        minimum=thinking.minimum,
    )


def _written(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Return the ids of a text; none where the vocabulary cannot write it."""
    try:
        return tuple(tokenizer.encode(text))
    except UserError:
        return ()
