# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The token loop on a table whose every step is known, and on the real policy."""

import functools
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


TABLE = CountingTable()  # one for all: a program is compiled for each model
ROWS, WIDTH = 4, 9


def _write(prompts, *, limits=None, table=None, width=WIDTH, **options):
    """Write at most `limits` tokens of up to `ROWS` rows; one program for each width.

    Rows that are missing write nothing and are cut off again.
    """
    missing = ROWS - len(prompts)
    ids, mask = pad_prompts(prompts + [[0]] * missing, (8,), vocab_size=10)
    limits = limits or [width] * len(prompts)
    options.setdefault("stops", stop_table(LETTERS, [END]))
    out = generate_jit(
        TABLE,
        _successors() if table is None else table,
        ids,
        mask,
        group_size=1,
        max_new_tokens=width,
        sampling=sampling_params(ROWS, max_new=limits + [0] * missing),
        key=jax.random.key(0),
        **options,
    )
    return jax.tree.map(lambda x: x[: len(prompts)], jax.device_get(out))


def test_copies_the_table_to_the_end_token_and_no_further():
    prompts = [[6], [1, 2], [3, 4, 5]]
    out = _write(prompts, limits=[6] * 3, pad_id=9)
    assert out.ids.tolist() == [
        [7, 8, 9, 9, 9, 9, 9, 9, 9],  # the pad is the end token: the mask tells
        [3, 4, 5, 6, 7, 8, 9, 9, 9],  # them apart
        [6, 7, 8, 9, 9, 9, 9, 9, 9],
    ]
    assert out.length.tolist() == out.mask.sum(1).tolist() == [3, 6, 4]
    assert out.stop.tolist() == [STOP_ID, STOP_LENGTH, STOP_ID]
    assert (out.logps == 0).all()  # what is certain has log-probability 0
    assert not out.forced.any()
    other = _write(prompts, limits=[6] * 3)
    assert other.mask.tolist() == out.mask.tolist()
    assert other.ids.tolist()[0] == [7, 8, 9, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("width", [1, WIDTH])
def test_writes_exactly_as_many_as_asked(width):
    out = _write([[8], [7], [9]], width=width)
    assert out.ids.shape == (3, width)
    assert out.length.tolist() == [1, min(width, 2), width]
    assert out.ids[2].tolist() == list(range(width))


def test_limits_of_rows():
    out = _write([[0]] * 4, limits=[0, 1, 4, 99])
    assert out.length.tolist() == [0, 1, 4, 9]
    assert out.stop.tolist() == [STOP_LENGTH] * 3 + [STOP_ID]
    assert out.ids.tolist()[2] == [1, 2, 3, 4, 0, 0, 0, 0, 0]


def test_stop_strings_straddle_tokens():
    table = _successors((4, 0))
    stops = stop_table(LETTERS, [END], ["eab"])
    out = _write([[0], [3]], table=table, stops=stops)
    assert out.length.tolist() == [6, 3]
    assert out.ids[1].tolist()[:4] == [4, 0, 1, 0]
    assert out.stop.tolist() == [STOP_STRING] * 2


def test_budgets_in_the_loop():
    tags = ThinkingTags(open=(7,), close=(8,), stop=(6,), wait=(5,))
    budgets = ["0", "2", "4+halt", "-1"]
    budget = token_budgets(budgets, tags, LETTERS, cap=8)
    table = _successors((7, 0), (8, 3), (6, 9), (2, 8), (5, 1))
    out = _write([[0]] * 4, limits=[8] * 4, table=table, budget=budget)
    assert out.ids[:, :8].tolist() == [
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
    budget = token_budgets(["1+halt"] * 4, tags, LETTERS, cap=8)
    stops = stop_table(LETTERS, [END], ["gi", "ia"])
    table = _successors((7, 0), (8, 0))
    out = _write([[0]], limits=[7], table=table, budget=budget, stops=stops)
    assert out.ids.tolist() == [[7, 0, 6, 9, 8, 0, 1, 0, 0]]
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


def test_one_program_a_bucket():
    before = generate_jit._cache_size()  # one of the two may be there
    programs = []
    tags = ThinkingTags(open=(3,), close=(4,))
    for trial in range(3):
        for bucket in (5, 8):
            ids, mask = pad_prompts([[1, 2, 3]] * 4, (bucket,), vocab_size=10)
            generate_jit(
                TABLE,
                _successors(),
                ids,
                mask,
                group_size=1,
                max_new_tokens=WIDTH,
                sampling=sampling_params(
                    4,
                    max_new=[6 - trial] * 4,
                    temperature=0.5 * trial,
                    top_k=3 * trial,
                    top_p=1 - 0.1 * trial,
                    min_p=0.1 * trial,
                ),
                key=jax.random.key(trial),
                stops=stop_table(LETTERS, [trial], ["a" * (trial + 1)]),
                budget=token_budgets(
                    [["0", "2", "-1"][trial]] * 4, tags, LETTERS, cap=6
                ),
            )
        programs.append(generate_jit._cache_size() - before)
    assert programs[0] in (1, 2) and set(programs) == {programs[0]}


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


@functools.cache
def _policy(dtype="float32"):
    cfg = PolicyConfig(**{**vars(POLICY), "dtype": dtype, "param_dtype": dtype})
    policy = token_policy(cfg)
    return policy, jax.device_get(jax.jit(policy.init)(jax.random.key(0)))


def _prompts(width=8):
    return pad_prompts(PROMPTS, (width,), vocab_size=50)


def _options(rows, temperature=1.0, numbers=None):
    return {
        "max_new_tokens": 10,
        "sampling": sampling_params(rows, max_new=10, temperature=temperature),
        "key": jax.random.key(7),
        "stops": stop_table(BYTES, [49], ["BC"]),
        "sequence_ids": jnp.arange(rows) if numbers is None else jnp.asarray(numbers),
    }


def _decode(policy, params, ids, mask, *, group_size=2, **how):
    options = _options(len(ids) * group_size, **how)
    out = generate_jit(policy, params, ids, mask, group_size=group_size, **options)
    return jax.device_get(out)


@functools.partial(jax.jit, static_argnames=("policy", "group_size"))
def _whole(policy, params, ids, mask, out, group_size=2):
    """Logits `[B, C, V]` that the whole forward gives each token of a completion."""
    width, new = ids.shape[1], out.ids.shape[1]
    whole = jnp.concatenate([jnp.repeat(ids, group_size, 0), out.ids], 1)
    seen = jnp.concatenate([jnp.repeat(mask, group_size, 0), out.mask], 1)
    hidden = policy.forward(params, whole, positions_of(seen), seen).hidden
    slot = jnp.where(seen[:, :width], jnp.arange(width)[None], 0).max(1)
    before = jnp.concatenate(
        [slot[:, None], jnp.tile(width + jnp.arange(new - 1)[None], (len(slot), 1))], 1
    )
    hidden = jnp.take_along_axis(hidden, before[:, :, None], axis=1)
    return policy.logits(params, hidden)[..., : policy.vocab_size]


def _gap(policy, params, ids, mask, out, temperature):
    """Largest difference of log-probs from the whole forward's; largest logit."""
    logits = np.asarray(_whole(policy, params, ids, mask, out))
    scores = logits / temperature
    scores -= scores.max(axis=-1, keepdims=True)
    logps = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    chosen = np.take_along_axis(logps, out.ids[:, :, None], axis=2)[:, :, 0]
    gap = np.where(out.mask, np.abs(chosen - out.logps), 0).max()
    return gap, np.abs(logits).max()


def _pad_left(ids, mask):
    order = np.argsort(mask, axis=1, kind="stable")
    return np.take_along_axis(ids, order, 1), np.take_along_axis(mask, order, 1)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sampler_and_trainer_agree(side, dtype):
    with _x64() if dtype == "float64" else nullcontext():
        policy, params = _policy(dtype)
        ids, mask = _prompts()
        if side == "left":
            ids, mask = _pad_left(ids, mask)
        for scale, temperature in ((1, 1.0), (1, 0.5), (2, 1.0), (2, 0.5)):
            scaled = jax.tree.map(lambda x, scale=scale: x * scale, params)
            out = _decode(policy, scaled, ids, mask, temperature=temperature)
            assert out.logps.dtype == dtype
            gap, largest = _gap(policy, scaled, ids, mask, out, temperature)
            # Every layer and the head round once more what the logits are made of.
            noise = 4 * (POLICY.n_layers + 1) * largest / temperature
            bound = noise * float(jnp.finfo(dtype).eps)
            if scale == temperature == 1:
                bound = min(bound, 1e-5)
            assert gap <= (bound if dtype == "float32" else min(bound, 1e-10))
        assert len(set(out.length.tolist())) > 1


def test_padding_and_company_change_no_token():
    policy, params = _policy()
    ids, mask = _prompts()
    whole = _decode(policy, params, ids, mask)
    alone = _prompts(16)
    for padded in (alone, _pad_left(*alone)):
        for row, number in ((0, 1), (1, 2), (2, 5), (3, 6)):
            one = [x[row : row + 1] for x in padded]
            out = _decode(policy, params, *one, group_size=1, numbers=[number])
            np.testing.assert_array_equal(out.ids[0], whole.ids[number])
            np.testing.assert_allclose(out.logps[0], whole.logps[number], atol=1e-5)


def test_draws_are_the_same_in_any_place():
    policy, params = _policy()
    ids, mask = _prompts()
    numbers = np.arange(100, 108)
    whole = _decode(policy, params, ids, mask, numbers=numbers)
    turned = _decode(
        *(policy, params, ids[::-1], mask[::-1]),
        numbers=numbers.reshape(4, 2)[::-1].reshape(-1),
    )
    back = lambda x: np.asarray(x).reshape(4, 2, -1)[::-1].reshape(8, -1)
    np.testing.assert_array_equal(back(turned.ids), whole.ids)
    left = _decode(policy, params, *_pad_left(ids, mask), numbers=numbers)
    np.testing.assert_array_equal(left.ids, whole.ids)
    again = _decode(policy, params, ids, mask, numbers=numbers)
    np.testing.assert_array_equal(again.logps, whole.logps)
    assert len({tuple(row) for row in whole.ids.tolist()}) == 8


def test_a_mesh_changes_no_draw():
    policy, params = _policy()
    ids, mask = _prompts()
    one = _decode(policy, params, ids, mask)
    mesh = sharding.make_mesh(sharding.MeshConfig(data=4, model=2))
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
    lowered = generate_jit.lower(
        policy, params, *_prompts(), group_size=2, **_options(8)
    )
    # 8 rows, 2 key heads, 8 + 10 slots, heads of 8.
    text = lowered.compile().as_text()
    lines = [x for x in text.splitlines() if "= f32[8,2,18,8]" in x]
    assert lines and not [x for x in lines if " copy(" in x]


def test_greedy_is_teacher_forced_argmax():
    policy, params = _policy()
    ids, mask = _prompts()
    out = _decode(policy, params, ids, mask, temperature=0.0)
    best = np.asarray(_whole(policy, params, ids, mask, out)).argmax(axis=-1)
    assert best[out.mask].tolist() == out.ids[out.mask].tolist()
    np.testing.assert_array_equal(out.ids[::2], out.ids[1::2])


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
