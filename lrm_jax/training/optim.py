# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Optimizers as optax transformations, and the learning-rate schedule.

AdamATan2 is Everett et al. (2407.05872, §4) as HRM and TRM run it (release
0.0.3 of `adam-atan2`): the first-moment correction sits outside atan2, and
weight decay multiplies the parameter. Muon is optax's, given explicit axes.
Steps are counted from 1, as the references do. The sparse puzzle table has its
own rule, in `sparse.py`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from lrm_jax.training.atan2 import atan2_right
from lrm_jax.types import Array, Params, UserError

Schedule = Callable[[Any], Array]
"""Maps the number of a step, counted from 1, to its learning rate."""

FUSED = ("qkv_proj", "gate_up_proj")
"""Projections whose kernels are `[in, parts, out]`."""

ROUTER_BIAS = "router_bias"
"""Name of the leaves that have a rule of their own: DeepSeek's correction biases."""

NOT_MUON = ("lm_head", "q_head")
"""Modules whose kernels are heads, which Muon leaves to AdamW."""


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """What trains the weights, and what trains the puzzle table.

    Attributes:
      kind: rule for the weights.
      lr: base learning rate (for Muon: of everything it leaves to AdamW).
      lr_min_ratio: end of the cosine as a share of `lr`; 1 = constant.
      lr_warmup_steps: steps of linear warm-up.
      weight_decay: decoupled decay; `p` shrinks by `lr * weight_decay` a step.
      beta1: decay of the first moment.
      beta2: decay of the second moment.
      eps: added to AdamW's denominator (AdamATan2 has none).
      clip_norm: largest global gradient norm; 0 = no clipping.
      muon_lr: base learning rate of matrices under Muon.
      muon_weight_decay: their decoupled decay.
      muon_beta: their momentum.
      muon_steps: Newton-Schulz iterations.
      router_bias_lr: by how much the correction bias of experts chosen too often falls
        and that of the others rises in a step (arXiv 2408.15664; 0.001 there); 0
        leaves it.
      puzzle_emb_lr: base learning rate of the puzzle table (sign-SGD).
      puzzle_emb_weight_decay: decay of the table rows a batch touches.
    """

    kind: Literal["adam_atan2", "adamw", "muon"] = "adam_atan2"
    lr: float = 1e-4
    lr_min_ratio: float = 1.0
    lr_warmup_steps: int = 0
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip_norm: float = 0.0
    muon_lr: float = 0.02
    muon_weight_decay: float = 0.0
    muon_beta: float = 0.95
    muon_steps: int = 5
    router_bias_lr: float = 0.0
    puzzle_emb_lr: float = 1e-2
    puzzle_emb_weight_decay: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        kinds = ("adam_atan2", "adamw", "muon")
        if self.kind not in kinds:
            raise UserError(
                f"optim.kind is {self.kind!r}; accepted: {', '.join(kinds)}"
            )
        for name in ("beta1", "beta2", "muon_beta"):
            if not 0 <= getattr(self, name) < 1:
                _refuse(name, getattr(self, name), "0 <= value < 1")
        if not 0 <= self.lr_min_ratio <= 1:
            _refuse("lr_min_ratio", self.lr_min_ratio, "0 to 1")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                continue
            if not (math.isfinite(value) and value >= 0):
                _refuse(field.name, value, "a finite number, 0 or more")


def _refuse(name: str, value: Any, accepted: str) -> None:
    raise UserError(f"optim.{name} is {value!r}; accepted: {accepted}")


def make_schedule(
    base_lr: float, *, warmup_steps: int, total_steps: int, min_ratio: float
) -> Schedule:
    """Linear warm-up to `base_lr`, then a half cosine to `min_ratio` of it.

    Past `total_steps` the rate stays at its end (the references' cosine would
    rise again there). Computed in the default float type, float64 under x64.
    """

    def schedule(count: Any) -> Array:
        # A strong dtype: a weak one would let float32 parameters pull it down.
        step = jnp.asarray(count).astype(jnp.result_type(float))
        span = max(1, total_steps - warmup_steps)
        progress = jnp.clip((step - warmup_steps) / span, 0.0, 1.0)
        cosine = 0.5 * (1.0 + jnp.cos(math.pi * progress))
        decayed = base_lr * (min_ratio + (1.0 - min_ratio) * cosine)
        warming = base_lr * step / max(1, warmup_steps)
        return jnp.where(step < warmup_steps, warming, decayed)

    return schedule


def learning_rate(
    cfg: OptimConfig, total_steps: int, *, base_lr: float | None = None
) -> Schedule:
    """Return the schedule of a run; `count` is the step's number from 1.

    Args:
      cfg: warm-up and end come from here.
      total_steps: where the cosine ends.
      base_lr: `cfg.lr` when None; the puzzle table passes `puzzle_emb_lr`.
    """
    return make_schedule(
        cfg.lr if base_lr is None else base_lr,
        warmup_steps=cfg.lr_warmup_steps,
        total_steps=total_steps,
        min_ratio=cfg.lr_min_ratio,
    )


class AdamAtan2State(NamedTuple):
    """Moments of AdamATan2, kept in float32 at least."""

    # As optax names it, so that `optax.tree.get(state, "count")` finds it.
    count: Array  # [] int32  # pyright: ignore[reportIncompatibleMethodOverride]
    mu: Params
    nu: Params


def adam_atan2(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.95,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Adam without epsilon, by atan2 in place of the division.

    p <- p (1 - lr wd) - lr / (1 - b1^t) atan2(m, sqrt(v) / sqrt(1 - b2^t))
    """

    def init(params: Params) -> AdamAtan2State:
        zeros = lambda p: jnp.zeros(p.shape, _wide(p))
        return AdamAtan2State(
            count=jnp.zeros((), jnp.int32),
            mu=jax.tree.map(zeros, params),
            nu=jax.tree.map(zeros, params),
        )

    def update(
        grads: Params, state: AdamAtan2State, params: Params | None = None
    ) -> tuple[Params, AdamAtan2State]:
        if params is None:
            raise ValueError("adam_atan2 needs params: its decay multiplies them")
        count = state.count + 1
        lr = learning_rate(count) if callable(learning_rate) else learning_rate
        bias1, bias2 = _bias_correction(b1, count), _bias_correction(b2, count)
        mu = jax.tree.map(
            lambda m, g: b1 * m + (1 - b1) * g.astype(m.dtype), state.mu, grads
        )
        nu = jax.tree.map(
            lambda v, g: b2 * v + (1 - b2) * jnp.square(g.astype(v.dtype)),
            state.nu,
            grads,
        )

        def step(p: Array, m: Array, v: Array) -> Array:
            size = jnp.asarray(lr, m.dtype)
            scale = size / bias1.astype(m.dtype)
            spread = jnp.sqrt(v) / jnp.sqrt(bias2.astype(m.dtype))
            decay = size * weight_decay * p.astype(m.dtype)
            return -decay - scale * atan2_right(m, spread)

        return jax.tree.map(step, params, mu, nu), AdamAtan2State(count, mu, nu)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _bias_correction(beta: float, count: Array) -> Array:
    """1 - beta^count without cancellation, in the default float type."""
    if beta == 0:
        return jnp.ones(())
    steps = count.astype(jnp.result_type(float))
    return -jnp.expm1(steps * math.log(beta))


def muon_dimension_numbers(params: Params) -> Params:
    """Say which leaves Muon trains, and along which axes.

    Kernels `[in, out]`, fused kernels `[in, parts, out]` and either of them stacked
    `[layers, ...]` are matrices from `in` to `out`, each layer and part on its own;
    embeddings, heads, biases and all else are None and go to AdamW.
    """

    def numbers(path: tuple, leaf: Array) -> contrib.MuonDimensionNumbers | None:
        names = [str(getattr(entry, "key", entry)) for entry in path]
        is_head = any(name in NOT_MUON for name in names)
        if names[-1] != "kernel" or leaf.ndim < 2 or is_head:
            return None
        fan_in_axis = leaf.ndim - (3 if set(names[-2:-1]) & set(FUSED) else 2)
        return contrib.MuonDimensionNumbers(fan_in_axis, leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(numbers, params)


def make_optimizer(cfg: OptimConfig, total_steps: int) -> optax.GradientTransformation:
    """Return the optimizer over the trainable weights (`params["weights"]`)."""
    schedule = learning_rate(cfg, total_steps)
    # optax counts from 0 where the references count from 1.
    from_zero = lambda count: schedule(count + 1)
    if cfg.kind == "adam_atan2":
        rule = adam_atan2(schedule, cfg.beta1, cfg.beta2, cfg.weight_decay)
    elif cfg.kind == "adamw":
        rule = _adamw(cfg, from_zero)
    else:
        rule = _muon(cfg, total_steps, _adamw(cfg, from_zero))
    if cfg.clip_norm:
        rule = optax.chain(optax.clip_by_global_norm(cfg.clip_norm), rule)
    update = _beside_router_bias(rule, cfg.router_bias_lr)
    return optax.GradientTransformation(rule.init, update)


def without_router_bias(grads: Params) -> Params:
    """Return gradients with 0 where they say how experts are loaded, see `moe.py`."""
    return _map_router_bias(jnp.zeros_like, grads)


def _beside_router_bias(
    rule: optax.GradientTransformation, size: float
) -> optax.TransformUpdateFn:
    """Return `rule`'s update, with sign-SGD of `size` for the correction biases.

    Neither clipping nor moments see their gradients, and no decay moves them.
    """

    def update(updates: Params, state: Any, params: Params | None = None) -> Any:
        grads = updates
        updates, state = rule.update(without_router_bias(grads), state, params)
        step = lambda update, grad: (-size * jnp.sign(grad)).astype(update.dtype)
        return _map_router_bias(step, updates, grads), state

    return update


def _map_router_bias(fn: Callable[..., Array], tree: Params, *rest: Params) -> Params:
    """Return `tree` with `fn` of each correction bias in its place."""

    def one(path: tuple, leaf: Array, *others: Array) -> Array:
        name = str(getattr(path[-1], "key", path[-1])) if path else ""
        return fn(leaf, *others) if name == ROUTER_BIAS else leaf

    return jax.tree_util.tree_map_with_path(one, tree, *rest)


def _adamw(cfg: OptimConfig, lr: Schedule) -> optax.GradientTransformation:
    return optax.adamw(lr, cfg.beta1, cfg.beta2, cfg.eps, weight_decay=cfg.weight_decay)


def _muon(
    cfg: OptimConfig, total_steps: int, rest: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Muon on matrices and `rest` (AdamW) on everything else.

    Built from optax's parts: its `muon` would send the rest to NAdamW.
    """
    schedule = learning_rate(cfg, total_steps, base_lr=cfg.muon_lr)
    matrices = optax.chain(
        contrib.scale_by_muon(
            ns_steps=cfg.muon_steps,
            beta=cfg.muon_beta,
            weight_dimension_numbers=muon_dimension_numbers,
        ),
        optax.stateless(lambda updates, _: _scale_by_shape(updates)),
        optax.add_decayed_weights(cfg.muon_weight_decay),
        optax.scale_by_learning_rate(lambda count: schedule(count + 1)),
    )

    def labels(params: Params) -> Params:
        is_spec = lambda x: x is None or isinstance(x, contrib.MuonDimensionNumbers)
        return jax.tree.map(
            lambda spec: "adamw" if spec is None else "muon",
            muon_dimension_numbers(params),
            is_leaf=is_spec,
        )

    return optax.partition({"muon": matrices, "adamw": rest}, labels)


def _scale_by_shape(updates: Params) -> Params:
    """Muon's width scaling, sqrt(max(1, out / in)), of every matrix."""

    def scale(
        spec: contrib.MuonDimensionNumbers | None, update: Any
    ) -> Any:  # masked leaves come as nodes without arrays
        if spec is None:
            return update
        fan_in, fan_out = update.shape[spec.reduction_axis], update.shape[-1]
        return update * math.sqrt(max(1.0, fan_out / fan_in))

    is_spec = lambda x: x is None or isinstance(x, contrib.MuonDimensionNumbers)
    specs = muon_dimension_numbers(updates)
    return jax.tree.map(scale, specs, updates, is_leaf=is_spec)


def init_ema(params: Params) -> Params:
    """Start the average at the initial weights, in buffers of its own."""
    return jax.tree.map(lambda p: jnp.array(p, _wide(p), copy=True), params)


def update_ema(ema: Params, params: Params, decay: float | Array) -> Params:
    """Average from step 0 without de-biasing: e <- d e + (1 - d) p."""

    def average(e: Array, p: Array) -> Array:
        d = jnp.asarray(decay, e.dtype)
        return d * e + (1 - d) * p.astype(e.dtype)

    return jax.tree.map(average, ema, params)


def ema_decay(decay: float, count: Array, warmup_steps: int = 0) -> Array:
    """Return the decay at step `count` (from 1).

    Constant as in TRM when `warmup_steps` is 0; otherwise
    min(decay, count / (count + warmup_steps)), so that a short run's average
    forgets its random start.
    """
    constant = jnp.asarray(decay, jnp.result_type(float))
    if not warmup_steps:
        return constant
    steps = count.astype(constant.dtype)
    return jnp.minimum(constant, steps / (steps + warmup_steps))


def _wide(x: Array) -> jnp.dtype:
    """Float32 at least."""
    return jnp.promote_types(x.dtype, jnp.float32)
