# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One batch of problems, searched by one method: what `token_search` repeats."""

import functools
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.data.tasks.base import Example
from lrm_jax.data.text_source import TextSource
from lrm_jax.data.verify.tags import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from lrm_jax.evaluation.step_tree import StepTree, Worth
from lrm_jax.prm.aggregate import aggregate
from lrm_jax.prm.semantics import Aggregation, default_aggregation
from lrm_jax.reasoning.shards import batch_parts
from lrm_jax.reasoning.stops import stop_table
from lrm_jax.recipes.prm_run import RewardRun, open_run, refuse_other_tokenizer
from lrm_jax.recipes.search_memory import trees_limit
from lrm_jax.recipes.search_trees import text_trees
from lrm_jax.recipes.token_search_found import Found, searched
from lrm_jax.recipes.token_search_samples import sample
from lrm_jax.search.beam import BeamConfig, beam_search
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.guided import GuidedModel, GuidedParams
from lrm_jax.search.guided_answers import (
    beam_solutions,
    beam_spent,
    tree_solutions,
    tree_spent,
    without_blank_ends,
)
from lrm_jax.search.guided_scores import StepScorer
from lrm_jax.search.guided_steps import Drawing, StepEnds, StepWriter, step_ends
from lrm_jax.search.mcts import check_result, search
from lrm_jax.steps import StepRule, StepTable, step_table
from lrm_jax.types import UserError

SEPARATORS = {"addition": ",", "arithmetic": ",", "countdown": ","}
"""Between the steps of the made-up tasks; elsewhere a line ends a step."""


@dataclass(frozen=True, eq=False)
class Bench:
    """A run, its problems and what scores their steps.

    Attributes:
      run: the policy's.
      config: `token_search.TokenSearchConfig`.
      source: of the problems.
      examples: the problems.
      prompts: ids of each.
      scorer: a reward model, or None.
      table: finds steps.
      ends: what ends a step or an answer.
      separator: text between steps.
      trees: those of `mcts` by budget and first problem, where they are kept.
    """

    run: Any
    config: Any
    source: TextSource
    examples: list[Example]
    prompts: list[list[int]]
    scorer: RewardRun | None
    table: StepTable
    ends: StepEnds
    separator: str
    trees: dict[tuple[int, int], list[StepTree]] = field(default_factory=dict)

    @property
    def how(self) -> Aggregation:
        """How the scores of steps are pooled."""
        if self.config.aggregation:
            return self.config.aggregation
        return (
            "last"
            if self.scorer is None
            else default_aggregation(self.scorer.semantics)
        )

    @property
    def max_new(self) -> int:
        """Tokens of a solution at most."""
        return self.config.max_new or self.run.config.eval.max_new_tokens

    @property
    def step_tokens(self) -> int:
        """Tokens of a step at most."""
        return min(self.config.step_tokens or self.max_new, self.max_new)

    @property
    def batch(self) -> int:
        """Problems at a time."""
        return min(self.config.batch, len(self.examples))

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each prompt."""
        return np.asarray([len(prompt) for prompt in self.prompts])

    @cached_property
    def solid(self) -> np.ndarray:
        """Which tokens write more than blanks, `[V]`."""
        found = np.zeros(self.run.policy.cfg.rows, bool)
        written = self.run.tokenizer.token_bytes()
        found[: len(written)] = [bool(one.strip()) for one in written]
        return found

    def search(self, method: str, budget: int, first: int) -> Found:
        """Search the problems from `first` on, one batch of them."""
        count = min(self.batch, len(self.examples) - first)
        if method in ("one_pass", "sampled"):
            found = sample(self, budget, first, greedy=method == "one_pass")
        elif method == "mcts":
            found = self._tree(budget, first)
        else:
            found = self._beam(method, budget, first)
        return found._replace(
            solutions=found.solutions[:count],
            generated=found.generated[:count],
            scored=found.scored[:count],
        )

    def pooled(self, found: Found) -> list[list[float]]:
        """Return the score of each solution: of its steps, or its mean likelihood."""
        flat = [one for solutions in found.solutions for one in solutions]
        if self.scorer is None or not flat:
            mean = [float(np.exp(s.logp / max(len(s.ids), 1))) for s in flat]
        else:
            width = max(max((len(s.scores) for s in flat), default=1), 1)
            scores = np.zeros((len(flat), width))
            there = np.zeros(scores.shape, bool)
            for i, one in enumerate(flat):
                scores[i, : len(one.scores)] = one.scores
                there[i, : len(one.scores)] = True
            mean = np.asarray(
                aggregate(jnp.asarray(scores), jnp.asarray(there), self.how)
            ).tolist()
        rest = iter(mean)
        return [[next(rest) for _ in solutions] for solutions in found.solutions]

    # --- the methods ---

    def _prompts(self, first: int) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return ids and mask `[Q, P]` padded on the right, and keys `[Q]`."""
        width, count = int(self.lengths.max()), self.batch
        ids = np.full((count, width), self.run.tokenizer.pad_id, np.int32)
        mask = np.zeros(ids.shape, bool)
        rows = np.minimum(np.arange(first, first + count), len(self.prompts) - 1)
        for i, row in enumerate(rows):
            ids[i, : self.lengths[row]] = self.prompts[row]
            mask[i, : self.lengths[row]] = True
        base = jax.random.key(self.config.seed)
        return (
            ids,
            mask,
            jax.vmap(jax.random.fold_in, (None, 0))(base, jnp.asarray(rows)),
        )

    def _gold(self, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens that right solutions end with, `[Q, G]`, and their mask.

        Raises:
          UserError: the task does not take its own answer, written between tags.
        """
        tokenizer = self.run.tokenizer
        rows = range(first, first + self.batch)
        examples = [self.examples[min(i, len(self.examples) - 1)] for i in rows]
        ends = [f"{ANSWER_OPEN}{one.answer}{ANSWER_CLOSE}" for one in examples]
        whole = [f"{THINK_OPEN}{THINK_CLOSE}{end}" for end in ends]
        if not all(v.lenient >= 1 for v in self.source.judge(whole, examples)):
            raise UserError(
                f"outcome='gold': task {self.source.task.name} does not judge by the "
                "answer between tags; accepted: outcome='score'"
            )
        ids = [[*tokenizer.encode(end), tokenizer.eos_ids[0]] for end in ends]
        width = max(map(len, ids))
        there = np.arange(width) >= width - np.asarray([[len(one)] for one in ids])
        padded = np.zeros(there.shape, np.int32)
        padded[there] = np.concatenate(ids)
        return padded, there

    @property
    def _worth(self) -> Worth:
        """What the values of trees are."""
        if self.config.outcome == "gold":
            return "gold"
        return "likelihood" if self.scorer is None else "score"

    @property
    def _drawing(self) -> Drawing:
        return Drawing(self.config.temperature, 0, self.config.top_p)

    def _scoring(self) -> tuple[Any, Any]:
        """Return what scores step by step, and its parameters."""
        if self.scorer is None:
            return None, None
        return self.scorer.scorer, self.scorer.params

    def _beam(self, method: str, budget: int, first: int) -> Found:
        scorer, scorer_params = self._scoring()
        config = BeamConfig(
            candidates=budget,
            expand=self.config.k,
            rounds=self.config.max_depth,
            max_new_tokens=self.max_new,
            kind="dvts" if method == "dvts" else "beam",
            lookahead=self.config.lookahead if method == "lookahead" else 0,
            aggregation=self.how,
        )
        rows = self.batch // batch_parts(self.batch) * budget  # of a part
        lanes = min(self.config.lanes or rows, rows)
        sizes = (self.step_tokens, lanes, self.run.tokenizer.pad_id)
        beams = _beam_jit(
            (self.run.policy, scorer),
            config,
            sizes,
            (self.run.weights, scorer_params, self.ends, self._drawing),
            *self._prompts(first),
        )
        beams = jax.device_get(beams)
        bad = np.argwhere(np.isnan(beams.step_score) & beams.kept)
        if len(bad):
            step, problem, candidate = bad[0]
            raise UserError(
                f"search: the score of step {step + 1} of problem {first + problem}, "
                f"candidate {candidate}, is NaN"
            )
        solutions = without_blank_ends(beam_solutions(beams), self.solid)
        return searched(solutions, beam_spent(beams), lanes)

    def _tree(self, budget: int, first: int) -> Found:
        scorer, scorer_params = self._scoring()
        config = self.config
        probability = scorer is None or scorer.semantics != "progress"
        absolute = config.tree == "puct" and probability
        rows = self.batch * config.k
        lanes = min(config.lanes or rows, rows)
        model = GuidedModel(
            self.run.policy,
            scorer,
            candidates=config.k,
            step_tokens=self.step_tokens,
            max_depth=config.max_depth,
            max_new_tokens=self.max_new,
            lanes=lanes,
            prior=config.prior,
            outcome=config.outcome,
            aggregation=self.how,
            pad_id=self.run.tokenizer.pad_id,
        )
        trees = SearchConfig(
            simulations=budget,
            method=config.tree,
            max_depth=config.max_depth,
            # Scores are chances: siblings that differ by noise stay equal.
            q_transform="min_max" if absolute else "auto",
            memory_limit_bytes=trees_limit(config.memory_gib),
        )
        params = GuidedParams(self.run.weights, scorer_params, self.ends, self._drawing)
        gold = self._gold(first) if config.outcome == "gold" else (None, None)
        result = _tree_jit(model, trees, params, *self._prompts(first), *gold)
        check_result(result)
        if config.trees:
            self.trees[budget, first] = text_trees(
                result,
                self.examples[first : first + self.batch],
                tokenizer=self.run.tokenizer,
                source=self.source,
                method=f"{config.tree}, {budget} simulations, k {config.k}",
                separator=self.separator,
                worth=self._worth,
            )
        spent = tree_spent(result, scored=scorer is not None)
        solutions = without_blank_ends(tree_solutions(result), self.solid)
        return searched(solutions, spent, lanes)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _beam_jit(models, config, sizes, arrays, ids, mask, keys):  # noqa: ANN001, ANN202
    (policy, scorer), (step_tokens, lanes, pad_id) = models, sizes
    weights, scorer_params, ends, drawing = arrays
    writer = StepWriter(policy, weights, ends, step_tokens, lanes, pad_id)
    scoring = StepScorer(scorer, scorer_params, ends)
    return beam_search(writer, scoring, ids, mask, keys, drawing, config)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _tree_jit(model, config, params, ids, mask, keys, gold, there):  # noqa: ANN001, ANN202
    problem = model.problem(params, ids, mask, gold, there)
    result = search(model, params, problem, keys, config)
    # Pages are of no use once the search is over.
    states = result.tree.states._replace(pages=None, scored=None)
    return result._replace(tree=result.tree._replace(states=states))


def open_bench(run: Any, config: Any, data: str | None) -> Bench:
    """Read the problems and open the reward model.

    Raises:
      UserError: no problem, a reward model of other tokens or one that cannot be read
        step by step, or a vocabulary that cannot write the separator.
    """
    source = run.source if data is None else run.other_source(data)
    examples = _examples(source, config)
    scorer = open_run(config.prm) if config.prm else None
    if scorer is not None:
        refuse_other_tokenizer(scorer.tokenizer, run.tokenizer, run.run_dir or "policy")
        if scorer.config.implicit:
            raise UserError(
                f"{config.prm}: an implicit reward model scores whole texts only; "
                "accepted: one with a head"
            )
    rule = _rule(scorer, config.separator, source.task.name)
    tokenizer = run.tokenizer
    written = tokenizer.token_bytes()
    written = [*written, *[b""] * (run.policy.cfg.rows - len(written))]
    table = step_table(tokenizer, rule)
    return Bench(
        run=run,
        config=config,
        source=source,
        examples=examples,
        prompts=[source.encode(example.prompt) for example in examples],
        scorer=scorer,
        table=table,
        ends=step_ends(table, stop_table(written, tokenizer.eos_ids), written),
        separator=rule.separator,
    )


def _examples(source: TextSource, config: Any) -> list[Example]:
    """Return the problems to search on."""
    if config.split == "train":
        there = source.train_size
        count = min(config.n or there, there or config.n)
        if not count:
            raise UserError(
                "split='train': the task makes problems without end; say how many (n)"
            )
        return [source.train_example(i) for i in range(count)]
    if not source.test:
        raise UserError("nothing to search on: data.test_size is 0")
    return source.test[: config.n or None]


def _rule(scorer: RewardRun | None, separator: str, task: str) -> StepRule:
    """Return how steps are told apart: as the reward model was taught."""
    if scorer is not None:
        rule = scorer.config.prm.steps
        if separator and separator != rule.separator:
            raise UserError(
                f"separator {separator!r}: the reward model's steps end with "
                f"{rule.separator!r}"
            )
        return rule
    return StepRule(separator=separator or SEPARATORS.get(task, "\n"), last="text")
