# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trained or imported policy in Python: sample from it, evaluate it."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lrm_jax import sharding
from lrm_jax.data.chat import PromptEncoder
from lrm_jax.data.jsonl import Prompt
from lrm_jax.data.tasks.base import Example
from lrm_jax.data.text_source import TextSource, task_or_files
from lrm_jax.evaluation.metrics import wilson_interval
from lrm_jax.models.policy import token_policy
from lrm_jax.recipes.policy_build import (
    load_policy,
    make_text,
    read_policy_config,
    state_shardings,
    tokenizer_of,
)
from lrm_jax.recipes.policy_config import PolicyRunBase, find_task, fit_vocabulary
from lrm_jax.recipes.policy_eval import batches_of
from lrm_jax.recipes.run_mesh import policy_mesh
from lrm_jax.recipes.token_sampler import STOPS, Sampler, Sampling
from lrm_jax.recipes.token_thinking import WAIT, Budget, Thinking
from lrm_jax.training import files
from lrm_jax.training.loading import parse_source
from lrm_jax.types import Params, UserError


@dataclasses.dataclass(frozen=True)
class Completion:
    """One completion.

    Attributes:
      text: without end token and stop string.
      ids: tokens written, the end token included.
      logprob: sum over the tokens drawn, of the distribution they were drawn from.
      thinking_tokens: tokens of the thought.
      stop: `length`, `stop_id` or `stop_string`.
    """

    text: str
    ids: list[int]
    logprob: float
    thinking_tokens: int
    stop: str

    @property
    def tokens(self) -> int:
        """How many tokens were written."""
        return len(self.ids)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "text": self.text,
            "tokens": self.tokens,
            "logprob": self.logprob,
            "thinking_tokens": self.thinking_tokens,
            "stop": self.stop,
            "ids": self.ids,
        }


class TokenRun:
    """A policy with its parameters; what `lrm sample` and `lrm eval` use."""

    def __init__(
        self,
        config: PolicyRunBase,
        weights: Params,
        *,
        run_dir: str | None = None,
        step: int = 0,
        warning: str | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        """Bind parameters to a config.

        Args:
          config: of the run.
          weights: as the policy's functions take them.
          run_dir: where reports go; None keeps them in memory.
          step: optimizer steps behind the parameters.
          warning: why it is not the newest step, see `LoadedParams`.
          mesh: where the weights lie; by default the one training would use.
        """
        self.tokenizer = tokenizer_of(config)
        self.config = fit_vocabulary(config, self.tokenizer)
        self.step, self.run_dir, self.warning = step, run_dir, warning
        self.mesh = mesh or policy_mesh(self.config)
        self.policy = token_policy(self.config.model)
        where = state_shardings(self.mesh, self.policy, weights)
        self.weights = sharding.put(weights, where)

    def sample(
        self,
        prompt: Prompt,
        *,
        n: int = 1,
        max_new: int | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        budget: Budget | None = None,
        min_thinking: int = 0,
        wait: str = WAIT,
        lanes: int = 0,
        stop: Sequence[str] = (),
        raw: bool = False,
        seed: int = 0,
    ) -> list[Completion]:
        """Write completions of one prompt.

        Args:
          prompt: text or messages.
          n: completions.
          max_new: the most tokens of each; `eval.max_new_tokens` by default.
          temperature: 0 for the most likely tokens.
          top_k: draw from so many of the most likely tokens; 0 = all.
          top_p: draw from the most likely tokens of this mass.
          min_p: draw from tokens at least so likely, relative to the likeliest.
          budget: of thinking, in tokens; None leaves it alone.
          min_thinking: least tokens of a thought.
          wait: what takes the place of an earlier end, see `Thinking`.
          lanes: completions at work at a time; 0 for all.
          stop: texts that end a completion.
          raw: leave the chat template out.
          seed: of the draws.
        """
        if n < 1:
            raise UserError(f"n={n}: expected 1 or more")
        encode = self.encoder if not raw else PromptEncoder(self.tokenizer, raw=True)
        sampler = self.sampler if not stop else self._sampler(stop)
        thinking = None
        if budget is not None or min_thinking or sampler.tags is not None:
            # -1 bounds nothing, and counts.
            thinking = Thinking("-1" if budget is None else budget, min_thinking, wait)
        found = sampler(
            self.weights,
            [encode(prompt)],
            jax.random.key(seed),
            max_new=max_new or self.config.eval.max_new_tokens,
            group_size=n,
            sampling=Sampling(temperature, top_k, top_p, min_p),
            thinking=thinking,
            lanes=lanes,
        )
        return [
            Completion(
                text=text,
                ids=np.asarray(ids)[np.asarray(mask)].tolist(),
                logprob=float(np.sum(logps)),
                thinking_tokens=int(thought),
                stop=STOPS[int(why)],
            )
            for text, ids, mask, logps, thought, why in zip(
                sampler.texts(found),
                found.ids,
                found.mask,
                found.logps,
                found.thinking_tokens,
                found.stop,
                strict=True,
            )
        ]

    def evaluate(
        self,
        data: str | None = None,
        *,
        budgets: Sequence[Budget] | None = None,
        cap: int | None = None,
        max_new: int | None = None,
        min_thinking: int = 0,
        lanes: int | None = None,
        size: int = 0,
    ) -> dict[str, Any]:
        """Measure greedy accuracy at several thinking budgets.

        Args:
          data: JSONL, judged as the run's task judges (by the text of the answer
            where it has none); None for the run's own held-out examples, whose result
            is also written to `report/`.
          budgets: see `ThinkingBudget`, in tokens; None for none.
          cap: the most tokens a budget may mean; `max_new` by default.
          max_new: the most tokens of a completion.
          min_thinking: least tokens of a thought.
          lanes: completions at work at a time; `eval.lanes` by default.
          size: examples to use; 0 for all.

        Returns:
          {n, results: [{budget, exact_accuracy, ci95, lenient_accuracy, mean_steps,
          mean_tokens, truncated}], data, step}; a step is a token of thought.
        """
        source = self.source if data is None else self.other_source(data)
        examples = source.test[: size or None]
        if not examples:
            raise UserError("nothing to evaluate on: data.test_size is 0")
        max_new = max_new or self.config.eval.max_new_tokens
        lanes = self.config.eval.lanes if lanes is None else lanes
        wanted: list[Thinking | None] = [None]
        if budgets or min_thinking or self.sampler.tags is not None:
            how: Any = {"minimum": min_thinking, "cap": cap}
            wanted = [Thinking(budget, **how) for budget in budgets or ["-1"]]
        for one in wanted:
            if one is not None:
                one.bound(max_new)
        try:
            results = [
                self._measure(source, examples, one, max_new, lanes) for one in wanted
            ]
        finally:
            source.close()
        report = {
            "n": len(examples),
            "results": results,
            "data": data or "own test set",
            "step": self.step,
        }
        if self.run_dir is not None and data is None:
            self._write_report(report)
        return report

    def search(
        self,
        data: str | None = None,
        *,
        progress: Callable[[str, int, int], None] | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Try methods of test-time search, with search off beside.

        Args:
          data: as for `evaluate`.
          progress: called with (what runs, problems done, problems).
          **settings: fields of `TokenSearchConfig`: `k=4, methods=("beam", "mcts")`.

        Returns:
          {n, results, settings, data, step}.
        """
        from lrm_jax.recipes.token_search import TokenSearchConfig, report, search_run

        config = TokenSearchConfig(**settings)
        rows = search_run(self, config, data=data, progress=progress)
        return report(rows, config, self, data)

    @cached_property
    def source(self) -> TextSource:
        """The run's own data.

        Raises:
          UserError: it was trained on nothing here (an import).
        """
        if self.config.task is None and not self.config.data.path:
            raise UserError(
                f"{self.run_dir or 'this run'} was imported and has no data of its "
                "own; give --data FILE.jsonl"
            )
        return make_text(self.config, needs="answer")

    @cached_property
    def encoder(self) -> PromptEncoder:
        """Prompts to ids, by the run's own settings."""
        data = self.config.data
        return PromptEncoder(
            self.tokenizer,
            raw=data.raw,
            system=data.system,
            enable_thinking=data.enable_thinking,
        )

    @cached_property
    def sampler(self) -> Sampler:
        """Decoding with the run's end tokens."""
        return self._sampler(())

    def _sampler(self, stop: Sequence[str]) -> Sampler:
        return Sampler(self.policy, self.tokenizer, self.mesh, stop_strings=stop)

    def other_source(self, path: str) -> TextSource:
        """Read other prompts, to test on."""
        data = dataclasses.replace(
            self.config.data, path=path, test_path=path, test_size=0, train_size=0
        )
        task = task_or_files(data, None, needs="answer", judge=find_task(self.config))
        return TextSource(data, task, self.tokenizer)

    def _measure(
        self,
        source: TextSource,
        examples: list[Example],
        thinking: Thinking | None,
        max_new: int,
        lanes: int,
    ) -> dict[str, Any]:
        prompts = [source.encode(example.prompt) for example in examples]
        width = max(map(len, prompts))
        size = self.config.eval.batch_size
        texts: list[str] = []
        thoughts, tokens, cut = 0, 0, 0
        for part in batches_of(prompts, size):
            found = self.sampler(
                self.weights,
                part,
                jax.random.key(0),
                max_new=max_new,
                thinking=thinking,
                lanes=lanes,
                rows=size,
                width=width,
            )
            texts += self.sampler.texts(found)
            thoughts += int(np.sum(found.thinking_tokens))
            tokens += int(np.sum(found.length))
            cut += int(np.sum(np.asarray(found.stop) == STOPS.index("length")))
        verdicts = source.judge(texts, examples)
        n, right = len(examples), sum(v.strict >= 1 for v in verdicts)
        return {
            "budget": "none" if thinking is None else str(thinking.budget),
            "exact_accuracy": right / n,
            "ci95": list(wilson_interval(right, n)),
            "lenient_accuracy": sum(v.lenient for v in verdicts) / n,
            "mean_steps": thoughts / n,
            "mean_tokens": tokens / n,
            "truncated": cut / n,
        }

    def _write_report(self, report: dict[str, Any]) -> None:
        folder = files.as_path(self.run_dir or ".") / "report"
        with files.user_errors(f"report of {self.run_dir} cannot be written"):
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(report, indent=1, allow_nan=False)
            files.write_atomic(folder / "eval.json", text + "\n")


def open_run(run: str) -> TokenRun:
    """Open `RUN[@step]`, trained by any recipe of token policies, or imported."""
    folder, _ = parse_source(run)
    mesh = policy_mesh(read_policy_config(folder))
    loaded = load_policy(run, mesh)
    return TokenRun(
        loaded.config,
        loaded.weights,
        run_dir=folder,
        step=loaded.step,
        warning=loaded.warning,
        mesh=mesh,
    )
