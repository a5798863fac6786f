# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Language models that judge a step by what they would write next: '+' or '-'.

A generative reward model is scored by the same functions as one with a head
(`scorer.py`). Math-Shepherd (arXiv 2312.08935) is read *at* the tag after a step;
RLHFlow's models one token *earlier*, where the sign that ends the step is predicted.
"""

import dataclasses
from typing import Literal, Protocol

import jax.numpy as jnp

from lrm_jax.steps import StepRule
from lrm_jax.types import (
    Array,
    Carry,
    Params,
    Semantics,
    TokenModel,
    UserError,
    at_least_float32,
)


@dataclasses.dataclass(frozen=True)
class ReaderConfig:
    """How a published reward model is to be read.

    Attributes:
      kind: `head`, a score read off hidden states; `signs`, the logits of two tokens.
      rule: what ends a step, and so where its score is read.
      form: `text`, steps after the prompt; `chat`, a user's turn for each step, which
        the assistant answers with `plus`, whatever was judged.
      prompt: how a prompt that is text is written: `{prompt}`, and `{bos}` for the
        token that the tokenizer names as begin.
      step: how a step is written: `{step}`, and `{i}` for its number from 1.
      system: message before the prompt (chat templates only).
      raw: leave the tokenizer's chat template out.
      plus: text of the token that says a step is right (`signs`).
      minus: of the one that says it is wrong.
      early: how many tokens before a step's end it is read: 0, or 1.
      semantics: what the scores mean.
    """

    kind: Literal["head", "signs"] = "head"
    rule: StepRule = StepRule()
    form: Literal["text", "chat"] = "text"
    prompt: str = "{prompt}"
    step: str = "{step}"
    system: str = ""
    raw: bool = False
    plus: str = "+"
    minus: str = "-"
    early: int = 0
    semantics: Semantics = "step_correctness"

    def __post_init__(self) -> None:
        """Refuse values that no reader can mean."""
        if self.early not in (0, 1):
            raise UserError(f"reader.early={self.early}: expected 0 or 1")
        for name in ("prompt", "step"):
            value, place = getattr(self, name), f"{{{name}}}"
            if place not in value:
                raise UserError(f"reader.{name}={value!r}: expected {place!r} in it")

    def write_prompt(self, prompt: str, bos: str) -> str:
        """Return a prompt as the model was taught to see it.

        Args:
          prompt: text.
          bos: the begin token's text; empty where the tokenizer names none.

        Raises:
          UserError: there is no begin token where one is written.
        """
        if "{bos}" in self.prompt and not bos:
            raise UserError(
                f"reader.prompt={self.prompt!r}: the tokenizer names no bos_token"
            )
        return self.prompt.replace("{bos}", bos).replace("{prompt}", prompt)

    def write(self, steps: list[str] | tuple[str, ...]) -> list[str]:
        """Return the steps as the model was taught to see them."""
        return [
            self.step.replace("{i}", str(i)).replace("{step}", step)
            for i, step in enumerate(steps, 1)
        ]


READERS: dict[str, ReaderConfig] = {
    # Qwen2.5-Math-PRM: two classes at a marker with an id of its own.
    "qwen": ReaderConfig(
        rule=StepRule("<extra_0>"),
        system=(
            "Please reason step by step, and put your final answer within \\boxed{}."
        ),
    ),
    # trl.experimental.prm: token classification at the separator's last token.
    "trl": ReaderConfig(rule=StepRule("\n", pieces="apart"), raw=True),
    # Skywork-o1-Open-PRM: a value at each line end.
    "skywork": ReaderConfig(
        rule=StepRule("\n", pieces="apart"),
        prompt="{bos}{prompt}\n",
        raw=True,
        semantics="future_success",
    ),
    "math_shepherd": ReaderConfig(
        kind="signs",
        rule=StepRule(" ки", between="\n"),
        step="Step {i}: {step}",
        raw=True,
        semantics="future_success",
    ),
    "rlhflow": ReaderConfig(
        kind="signs", form="chat", early=1, semantics="future_success"
    ),
}
"""How the models of known publishers are read."""


class HiddenStates(Protocol):
    """What a model makes of texts read whole."""

    @property
    def hidden(self) -> Array:
        """`[B, T, D]`."""
        ...


class LanguageModel(TokenModel[Carry], Protocol[Carry]):
    """A causal model that also reads texts whole, as `models.policy.Policy` does."""

    def forward(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        segment_ids: Array | None = None,
    ) -> HiddenStates:
        """Return the hidden states of texts `[B, T]`."""
        ...

    def lm_head(self, params: Params) -> Array:
        """Return the kernel of the head, `[D, rows]`."""
        ...


@dataclasses.dataclass(frozen=True)
class SignReader:
    """A reward model (`scorer.ScoringModel`) made of a language model and two tokens.

    Attributes:
      model: writes; its logits of two tokens judge.
      plus_id: of the token that says right.
      minus_id: of the one that says wrong.
      early: tokens between where the logits are read and a step's end.
      semantics: what the scores mean.
    """

    model: LanguageModel
    plus_id: int
    minus_id: int
    early: int = 0
    semantics: Semantics = "future_success"

    def read(self, params: Params, hidden: Array) -> Array:
        """Return logit(plus) - logit(minus), `[...]`, of hidden states `[..., D]`.

        Its sigmoid is the softmax over the two. Read of the token itself: a decoder
        that scores early hands in the hidden state before a step's end.
        """
        ids = jnp.asarray([self.plus_id, self.minus_id])
        hidden = at_least_float32(hidden)
        kernel = self.model.lm_head(params)[:, ids]  # two columns of the vocabulary
        logits = hidden @ kernel.astype(hidden.dtype)
        return logits[..., 0] - logits[..., 1]

    def forward(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        segment_ids: Array | None = None,
    ) -> Array:
        """Return the reading that belongs to each token, `[B, T]`.

        Read early, a token's comes from its neighbour before it: none may be padding.
        """
        hidden = self.model.forward(params, ids, positions, mask, segment_ids).hidden
        read = self.read(params, hidden)
        if self.early:
            read = jnp.pad(read[:, : -self.early], ((0, 0), (self.early, 0)))
        return read

    # --- TokenModel ---

    @property
    def vocab_size(self) -> int:
        """Ids that exist."""
        return self.model.vocab_size

    def logits(self, params: Params, hidden: Array) -> Array:
        """Return the model's logits over tokens, `[..., rows]`."""
        return self.model.logits(params, hidden)

    def init_cache(self, batch: int, length: int) -> Carry:  # pyright: ignore[reportInvalidTypeVarUse]
        """Return an empty cache of `length` slots for each of `batch` lanes."""
        return self.model.init_cache(batch, length)

    def extend(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        cache: Carry,
        start: Array | int,
    ) -> tuple[Array, Carry]:
        """Read tokens into the cache; see `TokenModel.extend`."""
        return self.model.extend(params, ids, positions, mask, cache, start)

    def fork(self, cache: Carry, parents: Array) -> Carry:
        """Return a cache whose lane i is a copy of lane `parents[i]`, `[B']`."""
        return self.model.fork(cache, parents)


def sign_id(encode_ids: list[int], text: str, name: str) -> int:
    """Return the id of a sign.

    Args:
      encode_ids: what the tokenizer makes of it.
      text: of it.
      name: of the field, for messages.

    Raises:
      UserError: it is not one token.
    """
    if len(encode_ids) != 1:
        raise UserError(
            f"reader.{name}={text!r} is {len(encode_ids)} tokens; expected one"
        )
    return encode_ids[0]
