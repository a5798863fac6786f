# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A policy small enough to enumerate: every completion and every group of them.

Tokens 0 .. V-1, of which V-1 ends a completion; at most T tokens. The parameters
are one row of logits for each prefix. An expectation over groups is then a sum: the
loss of all G-tuples at once, each weighed by its probability.
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.rl.batch import Rollout, prepare_batch
from lrm_jax.rl.config import RlConfig
from lrm_jax.rl.objective import Denominators, policy_loss


@dataclasses.dataclass(frozen=True)
class Tabular:
    """The completions of a vocabulary and a length.

    Attributes:
      vocab: V.
      length: T.
    """

    vocab: int = 3
    length: int = 2

    @functools.cached_property
    def completions(self) -> list[tuple[int, ...]]:
        end, out = self.vocab - 1, []
        for n in range(1, self.length + 1):
            for y in itertools.product(range(self.vocab), repeat=n):
                ends = y[-1] == end or n == self.length
                if end not in y[:-1] and ends:
                    out.append(y)
        return out

    @functools.cached_property
    def prefixes(self) -> list[tuple[int, ...]]:
        return sorted({y[:t] for y in self.completions for t in range(len(y))})

    @property
    def mask(self) -> np.ndarray:
        """[Y, T] bool."""
        lengths = np.array([len(y) for y in self.completions])
        return np.arange(self.length)[None, :] < lengths[:, None]

    @property
    def ids(self) -> np.ndarray:
        """[Y, T], 0 after the end."""
        rows = [(*y, *[0] * (self.length - len(y))) for y in self.completions]
        return np.array(rows)

    @property
    def states(self) -> np.ndarray:
        """[Y, T] row of the parameters that each token is drawn from."""
        place = {prefix: i for i, prefix in enumerate(self.prefixes)}
        rows = [
            [place[y[:t]] if t < len(y) else 0 for t in range(self.length)]
            for y in self.completions
        ]
        return np.array(rows)

    def init(self, seed: int, scale: float = 1.0) -> jax.Array:
        rng = np.random.default_rng(seed)
        return jnp.asarray(scale * rng.normal(size=(len(self.prefixes), self.vocab)))

    def logps(self, theta: jax.Array) -> jax.Array:
        """[Y, T] log-probability of each token of each completion; 0 after its end."""
        table = jax.nn.log_softmax(theta)
        return jnp.where(self.mask, table[self.states, self.ids], 0)

    def probs(self, theta: jax.Array) -> jax.Array:
        """[Y] probability of each completion."""
        return jnp.exp(jnp.sum(self.logps(theta), axis=1))

    def groups(self, group_size: int) -> np.ndarray:
        """[Y^G, G] every ordered group of completions."""
        every = range(len(self.completions))
        return np.array(list(itertools.product(every, repeat=group_size)))


def expected_gradient(
    cfg: RlConfig,
    table: Tabular,
    theta: jax.Array,
    rewards: np.ndarray,
    *,
    old_theta: jax.Array | None = None,
    ref_theta: jax.Array | None = None,
    entropy_coef: float | None = None,
    steps: tuple[np.ndarray, np.ndarray] | None = None,
) -> jax.Array:
    """Minus the gradient of the loss in expectation over groups of the old policy.

    The loss is that of the library, from rewards to gradient; only its row weights
    are replaced by the probability of the group over G. `steps` are scores `[Y, T]`
    of each completion's steps, and where they end.
    """
    old_theta = theta if old_theta is None else old_theta
    return _expected_gradient(
        cfg, table, entropy_coef, theta, rewards, old_theta, ref_theta, steps
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _expected_gradient(
    cfg, table, entropy_coef, theta, rewards, old_theta, ref_theta, steps
):
    group_size = cfg.rollout.group_size
    groups = table.groups(group_size)
    rows = groups.reshape(-1)
    old = table.logps(old_theta)[rows]
    mask = jnp.asarray(table.mask)[rows]
    ended = table.ids[np.arange(len(table.ids)), table.mask.sum(1) - 1]
    rollout = Rollout(
        mask=mask,
        sampler_logps=old,
        rewards=rewards[rows],
        accuracy=rewards[rows],
        truncated=jnp.asarray(ended != table.vocab - 1)[rows],
        lengths=jnp.sum(mask, axis=1),
        old_logps=old,
        ref_logps=None if ref_theta is None else table.logps(ref_theta)[rows],
        step_scores=None if steps is None else steps[0][rows],
        step_ends=None if steps is None else steps[1][rows],
    )
    prepared = prepare_batch(cfg, rollout)
    chosen = jnp.asarray(rows)[prepared.rows]
    chance = jnp.prod(table.probs(old_theta)[groups], axis=1)  # [Y^G]
    batch = prepared.batch._replace(
        row_weights=jnp.repeat(chance / group_size, group_size)
    )
    one = Denominators(jnp.ones(()), jnp.ones(()))

    def loss(theta: jax.Array) -> jax.Array:
        logps = table.logps(theta)[chosen]
        entropy = None
        if entropy_coef is not None:
            table_p = jax.nn.log_softmax(theta)
            per_state = -jnp.sum(jnp.exp(table_p) * table_p, axis=1)
            entropy = per_state[table.states][chosen]
        return policy_loss(
            cfg,
            logps,
            batch,
            denominators=one,
            entropy=entropy,
            entropy_coef=entropy_coef,
        ).loss

    return -jax.grad(loss)(theta)


@functools.partial(jax.jit, static_argnums=0)
def objective_gradient(
    table: Tabular, theta: jax.Array, rewards: np.ndarray
) -> jax.Array:
    """The gradient of J = sum_y pi(y) r(y), by autodiff of the sum itself."""
    return jax.grad(lambda t: jnp.sum(table.probs(t) * rewards))(theta)
