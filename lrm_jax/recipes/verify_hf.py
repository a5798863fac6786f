# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of Hugging Face folders: a policy against transformers' numbers.

Logits and log-probabilities of padded batches on both sides, greedy tokens decoded
from the cache, gradients of every parameter; then the logits in float64.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.interop.hf import HfPolicy, load_hf
from lrm_jax.interop.hf_layout import hf_layout, hf_tensor
from lrm_jax.losses import log_softmax
from lrm_jax.models.policy import Policy, token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.verify_report import Report, Tensors, need, read_json
from lrm_jax.types import Array, Params, UserError

# What to ask of a float32 port (fixtures README, section hf).
ATOL_LOGITS, ATOL_LOGPROBS = 1e-4, 5e-5
GRAD_OF_MAX = 3e-5
RTOL_LOSS = 1e-5
ATOL_F64 = 1e-9
# How many times the rounding of a float32 router may show, see `_verify_float64`.
ROUTER_ROUNDINGS = 4


class Batch(NamedTuple):
    """One padded batch of a fixture.

    Attributes:
      ids: `[B, T]` int32.
      mask: `[B, T]` bool.
      positions: `[B, T]` int32.
    """

    ids: np.ndarray
    mask: np.ndarray
    positions: np.ndarray


def is_hf(folder: Path) -> bool:
    """Return whether a folder is a fixture of this kind."""
    return (folder / "model" / "config.json").is_file()


def verify_hf(folder: Path, *, float64: bool) -> tuple[Report, list[str]]:
    """Verify one folder of a policy.

    Returns:
      The report, and the names of stored arrays that nothing compared.
    """
    report = Report()
    meta = read_json(folder / "meta.json")
    inputs = Tensors(folder / "inputs.safetensors")
    outputs = Tensors(folder / "outputs.safetensors")
    with jax.enable_x64(False):
        loaded = load_hf(folder / "model")
        report.notes += loaded.notes
        policy, params = _policy(loaded)
        for side in ("right", "left"):
            _check_batch(inputs, side, loaded.cfg.vocab_size)
            _verify_side(report, side, policy, params, inputs, outputs)
        _verify_generation(report, policy, params, inputs, outputs, meta, folder)
        if "loss" in outputs:
            _verify_gradients(report, loaded, policy, params, inputs, outputs)
    if float64 and "right/logits_f64" in outputs:
        with jax.enable_x64(True):
            _verify_float64(report, folder, inputs, outputs)
    unread = [
        f"{file.path.name}:{n}" for file in (inputs, outputs) for n in file.unread()
    ]
    if not float64:
        unread = [name for name in unread if not name.endswith("_f64")]
    return report, unread


def _policy(loaded: HfPolicy) -> tuple[Policy, Params]:
    return token_policy(loaded.cfg), jax.tree.map(jnp.asarray, loaded.params)


def _check_batch(inputs: Tensors, side: str, vocab_size: int) -> None:
    """Refuse arrays that are no batch of token ids."""
    names = [f"{side}/{n}" for n in ("input_ids", "attention_mask", "position_ids")]
    shape = inputs[names[0]].shape
    for name in names:
        array, where = inputs[name], f"{inputs.path}: {name}"
        if not (array.dtype == bool or np.issubdtype(array.dtype, np.integer)):
            raise UserError(f"{where}: dtype {array.dtype}; expected integers")
        if array.ndim != 2 or not array.size or array.shape != shape:
            raise UserError(
                f"{where}: shape {list(array.shape)}; expected [rows, columns], as "
                f"of {names[0]!r} {list(shape)}"
            )
    ids, positions = inputs[names[0]], inputs[names[2]]
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise UserError(
            f"{inputs.path}: {names[0]}: ids {ids.min()} to {ids.max()}; the model "
            f"has 0 to {vocab_size - 1}"
        )
    if positions.min() < 0:
        raise UserError(f"{inputs.path}: {names[2]}: {positions.min()} is negative")


def _whole(meta: Any, key: str, path: Path, least: int = 0) -> int:
    value = need(meta, key, path)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(
            f"{path}: {key}={value!r}: expected a whole number, {least} or more"
        )
    return value


def _batch(inputs: Tensors, side: str) -> Batch:
    return Batch(
        inputs[f"{side}/input_ids"],
        inputs[f"{side}/attention_mask"].astype(bool),
        inputs[f"{side}/position_ids"],
    )


@partial(jax.jit, static_argnums=0)
def _logits(
    policy: Policy, params: Params, ids: Array, mask: Array, positions: Array
) -> Array:
    hidden = policy.forward(params, ids, positions, mask).hidden
    return policy.logits(params, hidden)


def next_logprobs(logits: Array, ids: Array, mask: Array) -> Array:
    """Return the log-probability of token t + 1 at t, `[B, T - 1]`; 0 at padding."""
    logps = log_softmax(logits)[:, :-1]
    chosen = jnp.take_along_axis(logps, ids[:, 1:, None], axis=-1)[..., 0]
    return jnp.where(mask[:, 1:] & mask[:, :-1], chosen, 0)


def _verify_side(
    report: Report,
    side: str,
    policy: Policy,
    params: Params,
    inputs: Tensors,
    outputs: Tensors,
) -> None:
    batch = _batch(inputs, side)
    logits = _logits(policy, params, *batch)
    shown = np.asarray(logits) * batch.mask[..., None]
    report.compare(f"{side}/logits", shown, outputs[f"{side}/logits"], atol=ATOL_LOGITS)
    logps = next_logprobs(logits, jnp.asarray(batch.ids), jnp.asarray(batch.mask))
    want = outputs[f"{side}/token_logprobs"]
    report.compare(f"{side}/token_logprobs", logps, want, atol=ATOL_LOGPROBS)


@partial(jax.jit, static_argnums=(0, 5))
def greedy_decode(
    policy: Policy, params: Params, ids: Array, mask: Array, positions: Array, new: int
) -> tuple[Array, Array]:
    """Decode greedily from the cache, without a stop token.

    Args:
      policy: the policy.
      params: its parameters.
      ids: `[B, P]` int32, padded on the left.
      mask: `[B, P]` bool.
      positions: `[B, P]` int32.
      new: tokens to decode.

    Returns:
      tokens `[B, new]` and the logits that each was taken from `[B, new, rows]`.
    """
    batch, prompt = ids.shape
    cache = policy.init_cache(batch, prompt + new)
    hidden, cache = policy.extend(params, ids, positions, mask, cache, 0)
    logits = policy.logits(params, hidden[:, -1])
    one = jnp.ones((batch, 1), bool)

    def step(carry: Any, i: Array) -> tuple[Any, tuple[Array, Array]]:
        logits, cache = carry
        token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        at = positions[:, -1:] + 1 + i
        hidden, cache = policy.extend(
            params, token[:, None], at, one, cache, prompt + i
        )
        return (policy.logits(params, hidden[:, 0]), cache), (token, logits)

    steps = jnp.arange(new, dtype=jnp.int32)
    _, (tokens, logits) = jax.lax.scan(step, (logits, cache), steps)
    return tokens.T, logits.swapaxes(0, 1)


def _verify_float64(
    report: Report, folder: Path, inputs: Tensors, outputs: Tensors
) -> None:
    """Compare the logits of a float64 run.

    The reference's routers work in float32 in every run, so its float64 numbers
    carry that rounding. How much it moves our own logits is measured, and the limit
    grows by a few times as much; without experts it is 0.
    """
    wide = load_hf(folder / "model", dtype="float64", param_dtype="float64")
    batch = _batch(inputs, "right")

    def logits(cfg: PolicyConfig) -> np.ndarray:
        params = jax.tree.map(jnp.asarray, wide.params)
        shown = np.asarray(_logits(token_policy(cfg), params, *batch))
        return shown * batch.mask[..., None]

    ours, limit = logits(wide.cfg), ATOL_F64
    if wide.cfg.moe is not None:
        moe = dataclasses.replace(wide.cfg.moe, router_dtype="float32")
        narrow = logits(dataclasses.replace(wide.cfg, moe=moe))
        moved = float(np.max(np.abs(narrow - ours)))
        limit += ROUTER_ROUNDINGS * moved
        report.notes.append(
            f"right/logits_f64: the reference routes in float32; doing so moves our "
            f"logits by {moved:.1e}, so the limit is {limit:.1e}"
        )
    want = outputs["right/logits_f64"]
    report.compare("right/logits_f64", ours, want, atol=limit)


def _verify_generation(
    report: Report,
    policy: Policy,
    params: Params,
    inputs: Tensors,
    outputs: Tensors,
    meta: dict[str, Any],
    folder: Path,
) -> None:
    path = folder / "meta.json"
    batch = _batch(inputs, "left")
    new = _whole(meta, "new_tokens", path, 1)
    tokens, logits = greedy_decode(policy, params, *batch, new)
    report.compare("generate/tokens", tokens, outputs["generate/tokens"])
    want = outputs["generate/step_logits"]
    report.compare("generate/step_logits", logits, want, atol=ATOL_LOGITS)
    chosen = jnp.take_along_axis(log_softmax(logits), tokens[..., None], axis=-1)
    want = outputs["generate/token_logprobs"]
    report.compare("generate/token_logprobs", chosen[..., 0], want, atol=ATOL_LOGPROBS)
    stop = _whole(meta, "eos_token_id_for_generate_eos", path)
    pad = _whole(meta, "pad_token_id", path)
    stopped = np.asarray(tokens)
    ended = np.cumsum(stopped == stop, axis=1) - (stopped == stop) > 0
    stopped = np.where(ended, pad, stopped)
    report.compare("generate_eos/tokens", stopped, outputs["generate_eos/tokens"])


def _verify_gradients(
    report: Report,
    loaded: HfPolicy,
    policy: Policy,
    params: Params,
    inputs: Tensors,
    outputs: Tensors,
) -> None:
    batch = jax.tree.map(jnp.asarray, _batch(inputs, "right"))

    @jax.jit
    def loss_and_grads(params: Params) -> tuple[Array, Params]:
        def loss(params: Params) -> Array:
            logps = next_logprobs(
                _logits(policy, params, *batch), batch.ids, batch.mask
            )
            count = jnp.sum(batch.mask[:, 1:] & batch.mask[:, :-1])
            return -jnp.sum(logps) / count

        return jax.value_and_grad(loss)(params)

    loss, grads = loss_and_grads(params)
    report.compare("loss", loss.reshape(1), outputs["loss"], rtol=RTOL_LOSS)
    names = {f"grad/{entry.name}": entry for entry in hf_layout(loaded.cfg)}
    for name in sorted({*names, *outputs.names("grad/")}):
        got = hf_tensor(names[name], grads) if name in names else ()
        want = outputs[name]
        report.compare("grads", got, want, of_max=GRAD_OF_MAX, where=name[5:])
