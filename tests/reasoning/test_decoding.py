# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The token loop on a table whose every step is known, and on the real policy."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import sharding
from lrm_jax.models.policy import positions_of, token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.reasoning.decoding import generate, generate_jit
from lrm_jax.reasoning.prompts import bucket_length, pad_prompts, prompt_buckets
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.reasoning.stops import STOP_ID, STOP_LENGTH, STOP_STRING, stop_table
from lrm_jax.reasoning.token_budget import ThinkingTags, token_budgets
from lrm_jax.types import UserError

END = 9
LETTERS = [bytes([ord("a") + i]) for i in range(9)] + [b""]


class _Cache(NamedTuple):
    ids: jax.Array  # [B, S]
    valid: jax.Array  # [B, S]


class CountingTable:
    """A model whose logits are a table's row of the newest token; notes its calls."""

    vocab_size = 10

    def __init__(self):
        self.extends, self.written = [], []

    def init_cache(self, batch, length):
        return _Cache(jnp.zeros((batch, length), jnp.int32), jnp.zeros((batch, length)))

    def extend(self, params, ids, positions, mask, cache, start):
        self.extends.append(ids.shape)
        at = (0, start)
        cache = _Cache(
            jax.lax.dynamic_update_slice(cache.ids, ids, at),
            jax.lax.dynamic_update_slice(cache.valid, mask * 1.0, at),
        )
        return jax.nn.one_hot(ids, params.shape[0]), cache

    def fork(self, cache, parents):
        return jax.tree.map(lambda leaf: leaf[parents], cache)

    def logits(self, params, hidden):
        return hidden @ params


def _successors(*pairs):
    """Logits `[10, 12]` that name one follower each; two rows of padding shine."""
    table = np.full((10, 12), -60.0, np.float32)
    table[:, 10:] = 99
    for token in range(10):
        table[token, (token + 1) % 10] = 0
    for token, follower in pairs:
        table[token, (token + 1) % 10] = -60
        table[token, follower] = 0
    return jnp.asarray(table)


def _write(prompts, *, max_new, limits=None, table=None, group_size=1, **options):
    ids, mask = pad_prompts(prompts, (8,), vocab_size=10)
    rows = len(prompts) * group_size
    options.setdefault("stops", stop_table(LETTERS, [END]))
    return generate_jit(
        CountingTable(),
        _successors() if table is None else table,
        ids,
        mask,
        group_size=group_size,
        max_new_tokens=max_new,
        sampling=sampling_params(rows, max_new=limits or max_new),
        key=jax.random.key(0),
        **options,
    )


def test_copies_the_table_to_the_end_token_and_no_further():
    out = _write([[6], [1, 2], [3, 4, 5]], max_new=6, pad_id=9)
    assert out.ids.tolist() == [
        [7, 8, 9, 9, 9, 9],  # the pad is the end token: the mask tells them apart
        [3, 4, 5, 6, 7, 8],
        [6, 7, 8, 9, 9, 9],
    ]
    assert out.length.tolist() == out.mask.sum(1).tolist() == [3, 6, 4]
    assert out.stop.tolist() == [STOP_ID, STOP_LENGTH, STOP_ID]
    assert (out.logps == 0).all()  # what is certain has log-probability 0
    assert not out.forced.any()
    other = _write([[6], [1, 2], [3, 4, 5]], max_new=6, pad_id=0)
    assert other.mask.tolist() == out.mask.tolist()


@pytest.mark.parametrize("max_new", [1, 2, 5])
def test_writes_exactly_as_many_as_asked(max_new):
    out = _write([[0], [7]], max_new=max_new)
    assert out.ids.shape == (2, max_new)
    assert out.length.tolist() == [max_new, min(max_new, 2)]
    assert out.ids[0].tolist() == list(range(1, max_new + 1))


def test_limits_of_rows():
    out = _write([[0]], group_size=4, max_new=5, limits=[0, 1, 4, 9])
    assert out.length.tolist() == [0, 1, 4, 5]
    assert out.stop.tolist() == [STOP_LENGTH] * 4
    assert out.ids.tolist()[2] == [1, 2, 3, 4, 0]


def test_stop_strings_straddle_tokens():
    table = _successors((4, 0))
    stops = stop_table(LETTERS, [END], ["eab"])
    out = _write([[0], [3]], max_new=9, table=table, stops=stops)
    assert out.length.tolist() == [6, 3]
    assert out.ids[1].tolist()[:4] == [4, 0, 1, 0]
    assert out.stop.tolist() == [STOP_STRING] * 2


def test_budgets_in_the_loop():
    tags = ThinkingTags(open=(7,), close=(8,), stop=(6,), wait=(5,))
    budgets = ["0", "2", "4+halt", "-1"]
    budget = token_budgets(budgets, tags, LETTERS, cap=8)
    table = _successors((7, 0), (8, 3), (6, 9), (2, 8), (5, 1))
    out = _write([[0]], group_size=4, max_new=8, table=table, budget=budget)
    assert out.ids.tolist() == [
        [7, 8, 3, 4, 5, 1, 2, 8],  # empty, then what follows the closing tag
        [7, 0, 1, 6, 8, 3, 4, 5],  # cut at two, with the stop sentence
        [7, 0, 1, 2, 8, 3, 4, 5],  # at most four: it ends by itself after three
        [1, 2, 8, 3, 4, 5, 1, 2],
    ]
    forced = np.asarray(out.forced)
    assert np.argwhere(forced).tolist() == [
        *([0, 0], [0, 1]),
        *([1, 0], [1, 3], [1, 4]),
        [2, 0],
    ]
    assert out.thinking_tokens.tolist() == [0, 2, 3, 0]
    assert (np.asarray(out.logps)[forced] == 0).all()


def test_forced_text_ends_nothing():
    tags = ThinkingTags(open=(7,), close=(8,), stop=(6, 9), wait=())
    budget = token_budgets(["1+halt"], tags, LETTERS, cap=8)
    stops = stop_table(LETTERS, [END], ["gi", "ia"])
    table = _successors((7, 0), (8, 0))
    out = _write([[0]], max_new=7, table=table, budget=budget, stops=stops)
    assert out.ids.tolist() == [[7, 0, 6, 9, 8, 0, 1]]
    assert out.stop.tolist() == [STOP_LENGTH]


def test_reads_every_prompt_once_and_leaves_early():
    model = CountingTable()
    steps = []

    class Watched(CountingTable):
        def extend(self, params, ids, positions, mask, cache, start):
            jax.debug.callback(lambda at: steps.append(int(at)), jnp.asarray(start))
            return model.extend(params, ids, positions, mask, cache, start)

    ids, mask = pad_prompts([[6], [5, 6, 7]], (8,), vocab_size=10)
    out = jax.jit(
        generate, static_argnums=0, static_argnames=("group_size", "max_new_tokens")
    )(  # fmt: skip
        Watched(),
        _successors(),
        ids,
        mask,
        group_size=3,
        max_new_tokens=50,
        sampling=sampling_params(6, max_new=50),
        key=jax.random.key(0),
        stops=stop_table(LETTERS, [END]),
    )
    jax.block_until_ready(out)
    jax.effects_barrier()
    # Two prompts read together, for six rows; then one token a row.
    assert model.extends == [(2, 8), (6, 1)]
    # Three tokens: the first from the prompt, two steps, at slots behind it.
    assert sorted(steps) == [0, 8, 9]


# --- with the policy ---

POLICY = PolicyConfig(
    vocab_size=50,
    vocab_rows=64,
    d_model=32,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    d_ff=64,
    max_seq_len=64,
    qk_norm=True,
)
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9], [10, 11]]
BYTES = [bytes([65 + i % 26]) for i in range(50)]


@contextmanager
def _x64() -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


def _policy(dtype="float32"):
    cfg = PolicyConfig(**{**vars(POLICY), "dtype": dtype, "param_dtype": dtype})
    policy = token_policy(cfg)
    return policy, policy.init(jax.random.key(0))


def _decode(policy, params, ids, mask, *, group_size=2, max_new=10, **options):
    rows = len(ids) * group_size
    temperature = options.pop("temperature", 1.0)
    options.setdefault("key", jax.random.key(7))
    options.setdefault("stops", stop_table(BYTES, [49], ["BC"]))
    return generate_jit(
        policy,
        params,
        ids,
        mask,
        group_size=group_size,
        max_new_tokens=max_new,
        sampling=sampling_params(rows, max_new=max_new, temperature=temperature),
        **options,
    )


def _gap(policy, params, ids, mask, out, group_size, temperature):
    """Largest difference of log-probs from the whole forward's; largest logit."""
    width, new = ids.shape[1], out.ids.shape[1]
    whole = jnp.concatenate([jnp.repeat(ids, group_size, 0), out.ids], 1)
    seen = jnp.concatenate([jnp.repeat(mask, group_size, 0), out.mask], 1)
    hidden = policy.forward(params, whole, positions_of(seen), seen).hidden
    logits = policy.logits(params, hidden)[..., : policy.vocab_size]
    logps = jax.nn.log_softmax(logits / temperature)
    slot = jnp.where(seen[:, :width], jnp.arange(width)[None], 0).max(1)
    before = jnp.concatenate(
        [slot[:, None], jnp.tile(width + jnp.arange(new - 1)[None], (len(slot), 1))], 1
    )
    chosen = logps[jnp.arange(len(slot))[:, None], before, out.ids]
    gap = jnp.max(jnp.where(out.mask, jnp.abs(chosen - out.logps), 0))
    return float(gap), float(jnp.max(jnp.abs(logits)))


def _pad_left(ids, mask):
    order = np.argsort(mask, axis=1, kind="stable")
    return np.take_along_axis(ids, order, 1), np.take_along_axis(mask, order, 1)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sampler_and_trainer_agree(side, dtype):
    with _x64() if dtype == "float64" else nullcontext():
        policy, params = _policy(dtype)
        ids, mask = pad_prompts(PROMPTS, (5, 8), vocab_size=50)
        if side == "left":
            ids, mask = _pad_left(ids, mask)
        ids, mask = jnp.asarray(ids), jnp.asarray(mask)
        for scale, temperature in ((1, 1.0), (1, 0.5), (2, 1.0), (2, 0.5)):
            scaled = jax.tree.map(lambda x, scale=scale: x * scale, params)
            out = _decode(policy, scaled, ids, mask, temperature=temperature)
            assert out.logps.dtype == dtype
            gap, largest = _gap(policy, scaled, ids, mask, out, 2, temperature)
            # Every layer and the head round once more what the logits are made of.
            noise = 4 * (POLICY.n_layers + 1) * largest / temperature
            bound = noise * float(jnp.finfo(dtype).eps)
            if scale == temperature == 1:
                bound = min(bound, 1e-5)
            assert gap <= (bound if dtype == "float32" else min(bound, 1e-10))
        assert len(set(out.length.tolist())) > 1


def test_padding_changes_no_token():
    policy, params = _policy()
    ids, mask = pad_prompts(PROMPTS, (5,), vocab_size=50)
    short = _decode(policy, params, ids, mask)
    wide = pad_prompts(PROMPTS, (16,), vocab_size=50)
    for padded in (wide, _pad_left(ids, mask), _pad_left(*wide)):
        out = _decode(policy, params, *padded)
        np.testing.assert_array_equal(out.ids, short.ids)
        np.testing.assert_allclose(out.logps, short.logps, atol=1e-5)


def test_draws_are_the_same_in_any_batch():
    policy, params = _policy()
    ids, mask = pad_prompts(PROMPTS, (8,), vocab_size=50)
    whole = _decode(policy, params, ids, mask, sequence_ids=jnp.arange(100, 108))
    turned = _decode(
        policy,
        params,
        ids[::-1],
        mask[::-1],
        sequence_ids=jnp.arange(100, 108).reshape(4, 2)[::-1].reshape(-1),
    )
    back = lambda x: np.asarray(x).reshape(4, 2, -1)[::-1].reshape(8, -1)
    np.testing.assert_array_equal(back(turned.ids), whole.ids)
    alone = _decode(
        *(policy, params, ids[2:3], mask[2:3]),
        group_size=1,
        sequence_ids=jnp.array([105]),
    )
    np.testing.assert_array_equal(alone.ids[0], whole.ids[5])
    np.testing.assert_allclose(alone.logps[0], whole.logps[5], atol=1e-5)
    again = _decode(policy, params, ids, mask, sequence_ids=jnp.arange(100, 108))
    np.testing.assert_array_equal(again.logps, whole.logps)
    assert len({tuple(row) for row in whole.ids.tolist()}) == 8


@pytest.mark.parametrize(("data", "model"), [(8, 1), (2, 2), (4, 2)])
def test_a_mesh_changes_no_draw(data, model):
    policy, params = _policy()
    ids, mask = pad_prompts(PROMPTS, (8,), vocab_size=50)
    one = _decode(policy, params, ids, mask)
    mesh = sharding.make_mesh(
        sharding.MeshConfig(data=data, model=model), jax.devices()[: data * model]
    )
    with sharding.use_mesh(mesh):
        placed = sharding.put(
            params, sharding.tree_shardings(mesh, params, policy.axes)
        )
        spread = _decode(policy, placed, ids, mask)
    np.testing.assert_array_equal(spread.ids, one.ids)
    np.testing.assert_array_equal(spread.stop, one.stop)
    np.testing.assert_allclose(spread.logps, one.logps, atol=1e-5)


def test_the_loop_copies_no_cache():
    policy, params = _policy()
    ids, mask = pad_prompts(PROMPTS, (8,), vocab_size=50)
    compiled = generate_jit.lower(
        policy,
        params,
        ids,
        mask,
        group_size=2,
        max_new_tokens=11,
        sampling=sampling_params(8, max_new=11),
        key=jax.random.key(0),
    ).compile()
    # 8 rows, 2 key heads, 8 + 11 slots, heads of 8.
    lines = [x for x in compiled.as_text().splitlines() if "= f32[8,2,19,8]" in x]
    assert lines and not [x for x in lines if " copy(" in x]


def test_greedy_is_teacher_forced_argmax():
    policy, params = _policy()
    ids, mask = pad_prompts([[1, 2, 3]], (3,), vocab_size=50)
    out = _decode(policy, params, ids, mask, group_size=1, temperature=0.0)
    length = int(out.length[0])
    text = jnp.concatenate([jnp.asarray(ids), out.ids[:, :length]], 1)
    seen = jnp.ones(text.shape, bool)
    hidden = policy.forward(params, text, positions_of(seen), seen).hidden
    best = jnp.argmax(policy.logits(params, hidden)[0, :, :50], axis=-1)
    assert best[2:-1].tolist() == out.ids[0, :length].tolist()


def test_one_program_a_bucket():
    policy, params = _policy()
    before = generate_jit._cache_size()
    tags = ThinkingTags(open=(3,), close=(4,))
    for trial in range(3):
        for width in (5, 8):
            ids, mask = pad_prompts(PROMPTS, (width,), vocab_size=50)
            generate_jit(
                policy,
                params,
                ids,
                mask,
                group_size=2,
                max_new_tokens=6,
                sampling=sampling_params(
                    8,
                    max_new=[6 - trial] * 8,
                    temperature=0.5 * trial,
                    top_k=3 * trial,
                    top_p=1 - 0.1 * trial,
                    min_p=0.1 * trial,
                ),
                key=jax.random.key(trial),
                stops=stop_table(BYTES, [trial], ["A" * (trial + 1)]),
                budget=token_budgets([["0", "2", "-1"][trial]] * 8, tags, BYTES, cap=6),
            )
    assert generate_jit._cache_size() - before == 2


# --- what users give ---


def test_buckets():
    assert prompt_buckets(100) == (16, 32, 64, 100)
    assert prompt_buckets(16) == (16,)
    assert [bucket_length(n, (16, 64)) for n in (1, 16, 17)] == [16, 16, 64]


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ([[1], []], "prompt 1: empty"),
        ([[1] * 9], "prompt 0: 9 tokens, longer than the cache has room for"),
        ([[1, 50]], "prompt 0: id 50 is not in the vocabulary; accepted: 0 to 49"),
        ([[-1]], "id -1"),
    ],
)
def test_wrong_prompts_are_refused(prompts, says):
    with pytest.raises(UserError, match=says):
        pad_prompts(prompts, (4, 8), vocab_size=50)
