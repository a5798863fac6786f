# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fused attention: its masks on a CPU, its kernel in programs for CUDA."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from lrm_jax.models import attention, flash, latent_attention
from lrm_jax.models.attention import attend_groups
from lrm_jax.models.flash import flash_attend, flash_form, uses_cudnn
from lrm_jax.models.policy import Policy, positions_of
from lrm_jax.models.policy_config import MlaConfig, MoeConfig, PolicyConfig
from lrm_jax.types import UserError

TINY = PolicyConfig(
    vocab_size=13, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, d_head=8, d_ff=24,
    max_seq_len=64, attention="cudnn",
)  # fmt: skip
MLA = MlaConfig(q_rank=6, kv_rank=8, d_nope=4, d_rope=4, d_value=6)
MOE = MoeConfig(n_experts=3, top_k=2, d_expert=8)
CASES = {  # overrides, packed, how it must attend
    "padded": ({"qk_norm": True, "remat": "block"}, False, "causal"),
    "padded, latent, experts": (
        {"mla": MLA, "moe": MOE, "scan_layers": True}, False, "causal"
    ),
    "packed, some windows": (
        {"sliding_window": 3, "sliding_layers": (1,), "scan_layers": True},
        True,
        "masked",
    ),
}  # fmt: skip
PADDED = np.array(
    [
        *([1, 1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]),  # right
        *([0, 0, 0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1, 1]),  # left
        *([1, 1, 0, 0, 1, 1, 1, 0], [0, 1, 1, 0, 1, 0, 1, 1]),  # both and holes
    ]
)
PACKED = np.array([[1, 1, 1, 2, 2, 3, 0, 0], [1, 2, 2, 2, 2, 3, 3, 3]])


@pytest.fixture
def fused(monkeypatch):
    """The same call by XLA, and no refusal: float32 would hide no wrong mask."""
    on_cpu = partial(flash_attend, implementation="xla")
    monkeypatch.setattr(flash, "_problem", lambda cfg: "")
    monkeypatch.setattr(attention, "flash_attend", on_cpu)
    monkeypatch.setattr(latent_attention, "flash_attend", on_cpu)


def brute(q, k, v, seen, scale):
    """One query at a time, in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.zeros((*q.shape[:3], v.shape[-1]))
    for b, t, n in np.ndindex(q.shape[:3]):
        group = n // (q.shape[2] // k.shape[2])
        scores = np.where(seen[b, t], k[b, :, group] @ q[b, t, n] * scale, -np.inf)
        weights = np.exp(scores - scores.max())
        out[b, t, n] = weights @ v[b, :, group] / weights.sum()
    return out


@pytest.mark.parametrize("width", [8, 6])
def test_the_call_is_the_formula(width):
    keys = jax.random.split(jax.random.key(0), 4)
    q = jax.random.normal(keys[0], (2, 6, 4, 8))
    k = jax.random.normal(keys[1], (2, 6, 2, 8))
    v = jax.random.normal(keys[2], (2, 6, 2, width))
    causal = np.broadcast_to(np.tril(np.ones((6, 6), bool)), (2, 6, 6))
    keep = np.array(jax.random.bernoulli(keys[3], 0.5, (2, 6, 6))) | np.eye(
        6, dtype=bool
    )
    for seen, given in ((causal, None), (causal & keep, jnp.asarray(causal & keep))):
        out = flash_attend(q, k, v, given, 0.3, implementation="xla")
        expected = brute(q, k, v, seen, 0.3)
        np.testing.assert_allclose(out, expected, atol=2e-6)
        ours = attend_groups(
            q, k.swapaxes(1, 2), v.swapaxes(1, 2), jnp.asarray(seen), 0.3
        )
        np.testing.assert_allclose(ours, expected, atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_every_padding_gives_what_xla_gives(fused, case):
    overrides, packed, form = CASES[case]
    cfg = dataclasses.replace(TINY, **overrides)
    assert flash_form(cfg, 8, segments=packed) == form
    segments = jnp.asarray(PACKED if packed else PADDED, jnp.int32)
    mask, rows = segments > 0, len(segments)
    ids = jax.random.randint(jax.random.key(2), (rows, 8), 0, 13)
    pull = jax.random.normal(jax.random.key(3), (rows, 8, 16)) * mask[:, :, None]

    def run(policy, params):
        def loss(params):
            out = policy.forward(
                params, ids, positions_of(mask), mask, segments if packed else None
            )
            return jnp.sum(out.hidden * pull), out

        grads, out = jax.jit(jax.grad(loss, has_aux=True))(params)
        return out, grads

    params = jax.jit(Policy(cfg).init)(jax.random.key(1))
    ours, our_grads = run(Policy(cfg), params)
    theirs, grads = run(Policy(dataclasses.replace(cfg, attention="xla")), params)
    real = np.asarray(mask)
    np.testing.assert_allclose(ours.hidden[real], theirs.hidden[real], atol=2e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), our_grads, grads)
    assert np.isfinite(np.asarray(ours.hidden)).all()
    if ours.router is not None:
        assert (ours.router[:, real] == theirs.router[:, real]).all()
        for name, value in theirs.aux.items():
            np.testing.assert_allclose(ours.aux[name], value, atol=1e-5)


def lowered(cfg, *, packed, length=64):
    """The training step's loss with its gradient, as a program for CUDA."""
    policy = Policy(cfg)
    shape = lambda dtype: jax.ShapeDtypeStruct((2, length), dtype)
    params = jax.eval_shape(policy.init, jax.random.key(0))

    def loss(params, ids, positions, segments):
        out = policy.forward(
            params, ids, positions, segments > 0, segments if packed else None
        )
        return jnp.sum(out.hidden.astype(jnp.float32))

    whole = (shape(jnp.int32), shape(jnp.int32), shape(jnp.int32))
    traced = jax.jit(jax.grad(loss)).trace(params, *whole)
    return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("kind", ["cudnn", "auto"])
def test_programs_for_cuda_hold_the_kernel(monkeypatch, kind):
    # JAX asks for the version of cuDNN when tracing: here there is none.
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91300)
    monkeypatch.setattr(flash, "cuda_capability", lambda: (9, 0))
    cfg = dataclasses.replace(TINY, attention=kind, dtype="bfloat16", scan_layers=True)
    text = lowered(cfg, packed=False)
    assert "__cudnn$fmhaSoftmax(" in text.replace('"', "(")
    assert "__cudnn$fmhaSoftmaxBackward" in text
    assert "fmhaScaleBias" not in text
    assert "64x64x" not in text, "an array over queries and keys"
    dense = lowered(cfg, packed=True)
    assert ("__cudnn$fmhaScaleBiasSoftmaxBackward" in dense) == (kind == "cudnn")
    assert ("__cudnn$" in dense) == (kind == "cudnn")
    odd = lowered(cfg, packed=True, length=9)
    assert "__cudnn$" not in odd


def test_cudnn_is_refused_where_it_is_not():
    wide = dataclasses.replace(TINY, dtype="bfloat16")
    for cfg, reason in (
        (TINY, "takes bfloat16 activations, not model.dtype=float32"),
        (wide, "needs a CUDA GPU, not cpu; accepted here: xla, or auto"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            Policy(cfg)
        assert "\n" not in str(caught.value)
        assert not uses_cudnn(dataclasses.replace(cfg, attention="auto"))
        assert not uses_cudnn(dataclasses.replace(cfg, attention="xla"))


@pytest.mark.parametrize(
    ("capability", "width", "refused"),
    [
        ((9, 0), 256, None),
        ((8, 0), 128, None),
        ((8, 0), 256, "heads 256 wide; it takes multiples of 8 up to 128"),
        ((9, 0), 20, "heads 20 wide"),
        ((7, 5), 64, "compute capability 8.0, not 7.5"),
    ],
)
def test_limits_of_the_kernel(monkeypatch, capability, width, refused):
    monkeypatch.setattr(flash, "cuda_capability", lambda: capability)
    cfg = dataclasses.replace(TINY, dtype="bfloat16", d_head=width)
    if refused is None:
        assert uses_cudnn(cfg)
    else:
        with pytest.raises(UserError, match=refused):
            Policy(cfg)


def test_a_decoding_step_reads_the_cache_where_it_lies():
    """Two products a layer take it in bfloat16; nothing widens, repeats or moves it."""
    cfg = dataclasses.replace(TINY, attention="xla", dtype="bfloat16", qk_norm=True)
    policy, rows, slots = Policy(cfg), 3, 40
    params = jax.eval_shape(policy.init, jax.random.key(0))
    cache = jax.eval_shape(lambda: policy.init_cache(rows, slots))
    one = jax.ShapeDtypeStruct((rows, 1), jnp.int32)
    real = jax.ShapeDtypeStruct((rows, 1), bool)
    step = jax.jit(policy.extend, donate_argnums=4)
    traced = step.trace(
        params, one, one, real, cache, jax.ShapeDtypeStruct((), jnp.int32)
    )
    whole = rows * cfg.kv_heads * slots * cfg.head_dim
    names = [
        equation.primitive.name
        for equation in equations(traced.jaxpr.jaxpr)
        for x in equation.invars
        if getattr(x.aval, "size", 0) >= whole
    ]
    assert names.count("dot_general") == 2 * cfg.n_layers
    assert names.count("dynamic_update_slice") == 2 * cfg.n_layers
    assert len(names) == 4 * cfg.n_layers
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "3x2x40x8xbf16" in text
    assert "3x2x40x8xf32" not in text
    assert "3x4x40x8x" not in text


def equations(jaxpr):
    """Every equation that is no call of others."""
    for equation in jaxpr.eqns:
        inner = [x for x in equation.params.values() if hasattr(x, "jaxpr")]
        for closed in inner:
            yield from equations(closed.jaxpr)
        if not inner:
            yield equation
