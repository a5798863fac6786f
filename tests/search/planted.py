# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A policy that is a table, and a reward model that knows the truth.

The prompt is one letter; each step is a letter and `;`, the last a letter and the end.
A solution is right where every letter is the prompt's. Ids: 0 pad, 1 end, 2 `;`,
3 to 5 the letters a, b and c.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.reasoning.stops import stop_table
from lrm_jax.search.guided_steps import step_ends
from lrm_jax.steps import StepRule, step_table

PAD, END, SEP, A, B, C = range(6)
BYTES = [b"", b"", b";", b"a", b"b", b"c"]
ENDS_AFTER = 0.3  # chance that a letter is the last


class Cache(NamedTuple):
    ids: jax.Array  # [B, S]
    valid: jax.Array  # [B, S]


class TablePolicy:
    """Logits are a table's row of the newest token."""

    vocab_size = 6

    def init_cache(self, batch, length):
        zeros = jnp.zeros((batch, length), jnp.int32)
        return Cache(zeros, zeros > 0)

    def _write(self, ids, mask, cache, start):
        start = jnp.broadcast_to(jnp.asarray(start), ids.shape[:1])
        slots = start[:, None] + jnp.arange(ids.shape[1])[None]
        rows = jnp.arange(len(ids))[:, None]
        put = lambda old, new: old.at[rows, slots].set(new, mode="drop")
        return Cache(put(cache.ids, ids), put(cache.valid, mask.astype(bool))), slots

    def extend(self, params, ids, positions, mask, cache, start):
        cache, _ = self._write(ids, mask, cache, start)
        return jax.nn.one_hot(ids, params.shape[0]), cache

    def fork(self, cache, parents):
        return jax.tree.map(lambda leaf: leaf[parents], cache)

    def logits(self, params, hidden):
        return hidden @ params


class TruthScorer(TablePolicy):
    """Reads +6 while every letter is the prompt's and -6 after that."""

    semantics = "future_success"

    def extend(self, params, ids, positions, mask, cache, start):
        cache, slots = self._write(ids, mask, cache, start)
        letter = (cache.ids >= A) & cache.valid
        wrong = letter & (cache.ids != cache.ids[:, :1])
        upto = jnp.cumsum(wrong, axis=1)
        last = jnp.minimum(slots, cache.ids.shape[1] - 1)
        found = jnp.take_along_axis(upto, last, axis=1)
        return jnp.where(found == 0, 6.0, -6.0)[:, :, None], cache

    def read(self, params, hidden):
        return hidden[..., 0]

    def forward(self, params, ids, positions, mask, segment_ids=None):
        return self.extend(
            params, ids, positions, mask, self.init_cache(*ids.shape), 0
        )[0][..., 0]


class _Letters:
    vocab_size = 6

    def encode(self, text):
        return [BYTES.index(letter.encode()) for letter in text]

    def token_bytes(self):
        return BYTES


POLICY, SCORER, LETTERS = TablePolicy(), TruthScorer(), _Letters()


def table(chances=(0.5, 0.3, 0.2), end=ENDS_AFTER):
    """Logits `[6, 6]`: letters of these chances, then `;` or the end."""
    rows = np.full((6, 6), 1e-30, np.float32)
    rows[:3, A:] = chances
    rows[A:, A:] = 0
    rows[A, SEP], rows[A, END] = 1 - end, end
    rows[B:, SEP], rows[B:, END] = 1 - end, end
    # The prompt is a letter too: it is followed by the first step's letter.
    return jnp.log(jnp.asarray(np.maximum(rows, 1e-30)))


def ends(rule=None):
    rule = rule or StepRule(separator=";", last="text")
    return step_ends(step_table(LETTERS, rule), stop_table(BYTES, [END]), BYTES)


def prompts(letters):
    """Prompts that end with a separator, so that a letter follows."""
    ids = jnp.asarray([[letter, SEP] for letter in letters], jnp.int32)
    return ids, ids > 0


def right(prompt, ids):
    """Whether every letter of a solution is the prompt's."""
    return all(token == prompt for token in ids if token >= A)
