# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps as turns of a conversation, each answered by a sign (RLHFlow's models)."""

from collections.abc import Sequence

from lrm_jax.data.chat import ChatTemplate
from lrm_jax.data.jsonl import Message, Prompt
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.steps import StepTokens
from lrm_jax.types import UserError


def tokenize_turns(
    tokenizer: Tokenizer,
    template: ChatTemplate,
    prompt: Prompt,
    steps: Sequence[str],
    sign: str,
    *,
    system: str = "",
) -> StepTokens:
    """Return a conversation as ids; a step ends at the sign that answers it.

    The first turn holds the prompt, a space and the first step. Every step is answered
    by the same sign, whatever was judged: a score read one token before the sign has
    seen the step, and of other steps nothing but their texts.

    Args:
      tokenizer: of the model.
      template: its own.
      prompt: text.
      steps: of the solution.
      sign: the answer, one token.
      system: message before the first turn.

    Raises:
      UserError: the prompt is messages, there is no step, or the template writes what
        came before otherwise when more follows.
    """
    if not isinstance(prompt, str):
        raise UserError("the prompt is a list of messages; steps as turns need a text")
    if not steps:
        raise UserError("no steps; expected one or more")
    messages: list[Message] = []
    if system:
        messages.append({"role": "system", "content": system})
    asked: list[list[int]] = []
    for i, step in enumerate(steps):
        if not step.strip():
            raise UserError(f"step {i + 1} of {len(steps)} is empty: {step!r}")
        said = step if i else f"{prompt} {step}"
        messages.append({"role": "user", "content": said})
        asked.append(tokenizer.encode(template.render(messages)))
        messages.append({"role": "assistant", "content": sign})
    whole = tokenizer.encode(template.render(messages, add_generation_prompt=False))
    (answer,) = _one_token(tokenizer, sign)
    for i, ids in enumerate(asked):
        if whole[: len(ids)] != ids or whole[len(ids) : len(ids) + 1] != [answer]:
            raise UserError(
                f"step {i + 1} of {len(steps)}: the chat template or the tokenizer "
                f"writes no {sign!r} by itself after it; no token ends the step"
            )
    ends = [len(ids) for ids in asked]
    return StepTokens(whole[: ends[-1] + 1], ends, 0)


def _one_token(tokenizer: Tokenizer, sign: str) -> list[int]:
    ids = tokenizer.encode(sign)
    if len(ids) != 1:
        raise UserError(f"sign {sign!r} is {len(ids)} tokens; expected one")
    return ids
