# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A token policy on one GPU: right numbers first, then decoding and training.

Claim: the shape of Qwen3-0.6B, freshly initialised, in bfloat16: 256 rows with a
prompt of 512 write 512 tokens within twice the floor of memory bandwidth, and a
training step of 32 x 2,048 tokens reaches 40 % MFU. Of no paper.
Command: python -m experiments.gpu_policy --out FOLDER [--limit-s 540]
Device: one GPU of 80 GB or more; about ten minutes. CPU: --scale smoke.
Expected: not yet measured (docs/measurements.md).

Floor of decoding: each of the C - 1 steps after the prompt's reads every weight once
and, of every row, the keys and values of the tokens so far (P + t of step t):
sum_t (bytes of weights + B (P + t) L 2 K H 2) / bandwidth. (The cache has P + C slots
and a step reads them all: `slots_floor_s` is the floor of that.)
FLOPs of a training step of M tokens, T a row (a product-sum is two, backward twice
forward, nothing recomputed): 6 M P + 6 M D V + 6 M L N H T, P the weights of
the blocks, D V the logits, and the last causal attention: 2 products x 2 N H x T / 2
keys on average. `mfu` is of 790e12 FLOP/s; `mfu_full_attention` counts masked
scores too, as PaLM (arXiv 2204.02311, appendix B) does.
"""

import dataclasses
import statistics
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.device_log import (
    PEAK_FLOPS,
    DeviceLog,
    arguments,
    ceilings,
    clocked,
    compiled,
    memory_bytes,
    relative,
    spread,
    timed_steps,
)
from lrm_jax.logprobs import chunked_logps
from lrm_jax.models.flash import flash_form
from lrm_jax.models.policy import Policy, count_params, positions_of
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.reasoning.decoding import generate, prefill
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.recipes.policy_state import Updater
from lrm_jax.recipes.sft_config import SftConfig
from lrm_jax.recipes.sft_step import SftStep
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import UserError

QWEN3_06B = PolicyConfig(
    vocab_size=151_936, d_model=1024, n_layers=28, n_heads=16, n_kv_heads=8, d_head=128,
    d_ff=3072, max_seq_len=40_960, qk_norm=True, dtype="bfloat16",
)  # fmt: skip
TINY = dataclasses.replace(
    QWEN3_06B, vocab_size=64, d_model=32, n_layers=1, n_heads=4, n_kv_heads=2, d_head=8,
    d_ff=48, max_seq_len=64,
)  # fmt: skip
SMALL = dataclasses.replace(
    QWEN3_06B, vocab_size=4096, d_model=256, n_layers=4, n_heads=8, n_kv_heads=4,
    d_head=64, d_ff=768,
)  # fmt: skip
KINDS = {  # dtype, attention, precision of float32 products
    "float32": ("float32", "xla", "highest"),
    "float32, default precision": ("float32", "xla", None),
    "bfloat16": ("bfloat16", "xla", None),
    "bfloat16, cudnn": ("bfloat16", "cudnn", None),
}
TRAINING = [  # attention, remat, micro-batches
    ("auto", "none", 8),
    ("auto", "dots", 2),
    ("auto", "block", 1),
    ("xla", "block", 8),
]


def rows_of(cfg, length, packed):
    """Return a batch of four rows: padded left, right and with holes, or packed."""
    rng = np.random.default_rng(0)
    segments = np.ones((4, length), np.int32)
    if packed:
        cuts = np.sort(rng.integers(1, length, (4, 3)), axis=1)
        segments = 1 + (np.arange(length)[None, :, None] >= cuts[:, None]).sum(-1)
    segments[1, : length // 3] = 0
    segments[2, -length // 4 :] = 0
    segments[3, length // 3 : length // 2] = 0
    ids, targets = rng.integers(1, cfg.vocab_size, (2, 4, length))
    return [jnp.asarray(x, jnp.int32) for x in (ids, targets, segments)]


def scores(cfg, packed, params, ids, targets, segments):
    """Return the log-probability of every target, and the gradient of their mean."""
    policy, mask = Policy(cfg), segments > 0

    def loss(params):
        out = policy.forward(
            params, ids, positions_of(mask), mask, segments if packed else None
        )
        logps = chunked_logps(
            out.hidden.reshape(-1, cfg.d_model),
            policy.lm_head(params).astype(out.hidden.dtype),
            targets.reshape(-1),
            mask=mask.reshape(-1),
            n_valid=cfg.vocab_size,
        ).logps
        return jnp.sum(logps) / jnp.sum(mask), logps

    grads, logps = jax.grad(loss, has_aux=True)(params)
    return logps, grads


def numerics(log, cfg, length, kinds, packings):
    """Compare log-probs and gradients with a CPU's in float32, |a - b| / |b|."""
    exact = dataclasses.replace(cfg, dtype="float32", scan_layers=True)
    with jax.default_device(jax.devices("cpu")[0]):
        params = jax.jit(Policy(exact).init)(jax.random.key(0))
    host = jax.tree.map(np.asarray, params)
    for packed in packings:
        batch = [np.asarray(x) for x in rows_of(cfg, length, packed)]
        with jax.default_device(jax.devices("cpu")[0]):
            reference = jax.jit(partial(scores, exact, packed))(host, *batch)
        worst = {}
        for name in kinds:
            dtype, attention, precision = KINDS[name]
            one = dataclasses.replace(exact, dtype=dtype, attention=attention)
            try:
                form = flash_form(one, length, segments=packed)
            except UserError as refusal:
                log.write("numerics", kind=name, packed=packed, skipped=str(refusal))
                continue
            with jax.default_matmul_precision(precision):
                program, compile_s = compiled(
                    partial(scores, one, packed), host, *batch
                )
                (logps, grads), time_s = clocked(program, host, *batch)
            gaps = relative(logps, reference[0]), relative(grads, reference[1])
            worst[name] = gaps
            # The fused kernel may be as far off as plain products, no more.
            bound = {"float32": (1e-5, 1e-4)}.get(name, (0.02, 0.1))
            if name == "bfloat16, cudnn":
                bound = tuple(1.5 * gap + 1e-3 for gap in worst["bfloat16"])
            good = all(gap <= most for gap, most in zip(gaps, bound, strict=True))
            log.write(
                "numerics", kind=name, packed=packed, attention=form, logps=gaps[0],
                gradients=gaps[1], bound=bound, ok=good, compile_s=compile_s,
                time_s=time_s,
            )  # fmt: skip
            if not good:
                log.failed.append(f"numerics {name} packed={packed}")


def sampler_gap(log, cfg, length, kinds):
    """Compare log-probs of the decoding loop with those of the whole sequence."""
    for name in kinds:
        dtype, _, precision = KINDS[name]
        one = dataclasses.replace(
            cfg,
            dtype=dtype,
            scan_layers=False,
            attention="auto" if not precision else "xla",
        )
        policy = Policy(one)
        with jax.default_matmul_precision(precision):
            params = jax.jit(policy.init)(jax.random.key(0))
            prompts = jax.random.randint(jax.random.key(1), (4, length), 1, 64)
            mask = jnp.arange(length)[None] >= jnp.array([[0], [1], [2], [3]])
            done = jax.jit(
                partial(generate, policy, group_size=2, max_new_tokens=length)
            )(
                params, prompts, mask, key=jax.random.key(2),
                sampling=sampling_params(8, max_new=length),
            )  # fmt: skip
            ids = jnp.concatenate([jnp.repeat(prompts, 2, 0), done.ids], 1)
            whole = jnp.concatenate([jnp.repeat(mask, 2, 0), done.mask], 1)

            def again(params, ids, whole, policy=policy, one=one):
                hidden = policy.forward(params, ids, positions_of(whole), whole).hidden
                before = hidden[:, length - 1 : -1].reshape(-1, one.d_model)
                head = policy.lm_head(params).astype(hidden.dtype)
                return chunked_logps(
                    before, head, ids[:, length:].reshape(-1), n_valid=one.vocab_size
                ).logps

            logps = jax.jit(again)(params, ids, whole).reshape(done.logps.shape)
        gap = np.abs(np.asarray(logps - done.logps))
        good = bool(gap.max() <= (1e-4 if name == "float32" else 0.5))
        log.write(
            "sampler_gap", kind=name, largest=gap.max(), mean=gap.mean(), ok=good,
            trainer=flash_form(one, 2 * length, segments=False),
        )  # fmt: skip
        if not good:
            log.failed.append(f"sampler_gap {name}")


def floor_bytes(cfg, weight_bytes, batch, prompt, new):
    """Return the bytes that decoding must read, and those of all slots."""
    token = (
        cfg.n_layers * 2 * cfg.kv_heads * cfg.head_dim * jnp.dtype(cfg.dtype).itemsize
    )
    steps = range(1, new)
    attended = sum(weight_bytes + batch * (prompt + t) * token for t in steps)
    slots = len(steps) * (weight_bytes + batch * (prompt + new) * token)
    return attended, slots


def decode(log, cfg, *, prompts, group, prompt, new, bandwidth, samples):
    """Time completions of prompts, and reading the prompts alone."""
    cfg = dataclasses.replace(cfg, param_dtype=cfg.dtype, scan_layers=False)
    policy, batch = Policy(cfg), prompts * group
    params = jax.jit(policy.init)(jax.random.key(0))
    weight_bytes = sum(x.nbytes for x in jax.tree.leaves(params))
    ids = jax.random.randint(jax.random.key(1), (prompts, prompt), 1, cfg.vocab_size)
    mask = jnp.ones(ids.shape, bool)
    sampling = sampling_params(batch, max_new=new)

    def write(params, ids, mask, sampling, key):
        return generate(
            policy, params, ids, mask, sampling=sampling, key=key,
            group_size=group, max_new_tokens=new,
        )  # fmt: skip

    def read(params, ids, mask):
        return prefill(policy, params, ids, mask, slots=prompt + new).logits

    reader, _ = compiled(read, params, ids, mask)
    clocked(reader, params, ids, mask)
    read_s = min(clocked(reader, params, ids, mask)[1] for _ in range(3))
    keys = jax.random.split(jax.random.key(2), samples + 1)
    program, compile_s = compiled(write, params, ids, mask, sampling, keys[0])
    log.write("decode", compile_s=compile_s, prefill_s=read_s,
              planned_bytes=memory_bytes(program))  # fmt: skip
    log.keep_program("decode", program)
    clocked(program, params, ids, mask, sampling, keys[0])
    times = []
    attended, slots = floor_bytes(cfg, weight_bytes, batch, prompt, new)
    for key in keys[1:]:
        done, time_s = clocked(program, params, ids, mask, sampling, key)
        assert int(done.length.min()) == new
        times.append(time_s)
        decode_s = statistics.median(times) - read_s
        log.write(
            "decode", **spread(times), prefill_s=read_s, decode_s=decode_s,
            batch=batch, prompt=prompt, new=new, parameters=count_params(params),
            tokens_per_s=batch * (new - 1) / decode_s, bandwidth=bandwidth,
            floor_s=attended / bandwidth, slots_floor_s=slots / bandwidth,
            times_floor=decode_s * bandwidth / attended,
        )  # fmt: skip


def training_flops(cfg, rows, length):
    """Return the FLOPs of a step with causal attention, and with whole attention."""
    tokens = rows * length
    heads = (2 * cfg.n_heads + 2 * cfg.kv_heads) * cfg.head_dim * cfg.d_model
    weights = cfg.n_layers * (heads + 3 * cfg.d_model * cfg.d_ff)
    dense = 6 * tokens * (weights + cfg.d_model * cfg.rows)
    causal = 6 * tokens * cfg.n_layers * cfg.n_heads * cfg.head_dim * length
    return dense + causal, dense + 2 * causal


def train(log, cfg, *, rows, length, attention, remat, micro, chunk, samples):
    """Time steps of supervised fine-tuning on rows without padding."""
    cfg = dataclasses.replace(cfg, attention=attention, remat=remat, scan_layers=True)
    policy = Policy(cfg)
    optim = OptimConfig(kind="adamw", lr=1e-5, clip_norm=1.0)
    schedule = TrainConfig(total_steps=1000, batch_size=rows, grad_accum=micro)
    sft = SftConfig(seq_len=length, pack=False, chunk=chunk)
    step = SftStep(policy, sft, Updater(policy, optim, schedule), micro)
    state = jax.jit(step.init)(jax.random.key(0))
    ids = jax.random.randint(jax.random.key(1), (rows, length), 1, cfg.vocab_size)
    ones = jnp.ones((rows, length), jnp.int32)
    batch = {
        "ids": ids,
        "positions": jnp.broadcast_to(jnp.arange(length)[None], ids.shape),
        "segment_ids": ones,
        "targets": jnp.roll(ids, -1, axis=1),
        "loss_mask": ones.astype(bool),
    }
    program, compile_s = compiled(step, state, batch, donate_argnums=0)
    name = f"{attention}, {remat}, {micro}"
    about = {
        "variant": name,
        "attention": flash_form(cfg, length, segments=False),
        "chunk": chunk,
        "compile_s": compile_s,
        "planned_bytes": memory_bytes(program),
    }
    log.write("train", **about)
    log.keep_program(f"train_{attention}_{remat}_{micro}", program)
    _, metrics, times = timed_steps(program, state, (batch,), samples)
    total, weight = metrics["loss/lm"]
    flops, full = training_flops(cfg, rows, length)
    rate = 1 / statistics.median(times)
    log.write(
        "train", **about, **spread(times), rows=rows, length=length,
        loss=float(total / weight), tokens_per_s=rows * length * rate, flops=flops,
        mfu=flops * rate / PEAK_FLOPS, mfu_full_attention=full * rate / PEAK_FLOPS,
    )  # fmt: skip


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--bandwidth", type=float, default=4.3e12, help="B/s of memory")
    parser.add_argument("--prompts", type=int, default=32, help="that are written on")
    parser.add_argument("--group", type=int, default=8, help="completions of a prompt")
    parser.add_argument("--samples", type=int, default=5)
    args = parser.parse_args()
    log = DeviceLog("gpu_policy", args.out, args.limit_s)
    smoke = args.scale == "smoke"
    wanted = lambda part: not args.only or part in args.only
    if wanted("device"):
        size, copy = (64, 2**16) if smoke else (8192, 2**32)
        log.run("device", ceilings, size=size, copy_bytes=copy)
    if wanted("numerics"):
        small, length = (TINY, 16) if smoke else (SMALL, 512)
        kinds = ("bfloat16", "bfloat16, cudnn") if smoke else tuple(KINDS)
        packings = (True,) if smoke else (False, True)
        log.run("numerics", numerics, small, length, kinds, packings)
        kinds = ("float32",) if smoke else ("float32", "bfloat16")
        log.run("sampler_gap", sampler_gap, small, length // 4, kinds)
    cfg = TINY if smoke else QWEN3_06B
    if wanted("decode"):
        sizes = {"prompts": 2, "group": 2, "prompt": 6, "new": 5}
        if not smoke:
            sizes = {"prompts": args.prompts, "group": args.group}
            sizes |= {"prompt": 512, "new": 512}
        log.run("decode", decode, cfg, **sizes, bandwidth=args.bandwidth,
                samples=args.samples, needs_s=0 if smoke else 120)  # fmt: skip
    if wanted("train"):
        sizes = {"rows": 4, "length": 16, "chunk": 32}
        if not smoke:
            sizes = {"rows": 32, "length": 2048, "chunk": 8192}
        for attention, remat, micro in TRAINING[1:2] if smoke else TRAINING:
            log.run(
                "train", train, cfg, **sizes, attention=attention, remat=remat,
                micro=micro, samples=args.samples, needs_s=0 if smoke else 60,
            )  # fmt: skip
    return log.exit_code()


if __name__ == "__main__":
    sys.exit(main())
