# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How fast completions are written, beside `transformers.generate`.

Claim: on a CPU at equal threads, float32, sampling on, a cache on both sides and the
very same random weights, at least 3 times the tokens a second at hidden 64 and 1.2
times at 12 layers of 512. Of no paper.
Command: python -m experiments.decode_speed [--shape small] [--samples 5]
Device: a CPU with nothing else to do; minutes. Needs the extra `reference`. In company
torch's spinning barriers lose tens of times their share: OMP_WAIT_POLICY=PASSIVE or
one thread (taskset -c 0, which `--threads` follows) is then the fair comparison.
Expected: docs/measurements.md.

Both sides decode in turn in one process, after a warm-up that compiles; every
sample writes 16 prompts x 4 completions x 128 tokens. Beside wall time, the CPU time
of the process is given: on a busy machine it is the fairer of the two.
"""

import argparse
import json
import os
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.interop.hf import load_hf
from lrm_jax.models.policy import token_policy
from lrm_jax.reasoning.decoding import generate_jit
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.types import UserError

SHAPES = {  # hidden, layers, heads, key heads, head width, feed-forward, vocabulary
    "small": (64, 2, 4, 2, 16, 192, 1024),
    "large": (512, 12, 8, 4, 64, 1536, 8192),
    "smoke": (32, 1, 2, 1, 16, 64, 64),
}


def reference(shape, folder):
    """Make the reference model, and write its weights to `folder`."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserError(
            f"decode_speed needs {error.name}: pip install 'lrm-jax[reference]'"
        ) from None
    hidden, layers, heads, kv_heads, width, d_ff, vocab = shape
    config = transformers.Qwen3Config(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=width,
        intermediate_size=d_ff,
        vocab_size=vocab,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    config.bos_token_id = config.eos_token_id = None
    torch.manual_seed(0)
    model = transformers.Qwen3ForCausalLM(config).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    return torch, model


def sides(shape, threads, prompts, group_size, width, length):
    """Return the two functions of a seed; each writes all completions."""
    with tempfile.TemporaryDirectory() as folder:
        torch, model = reference(shape, folder)
        loaded = load_hf(folder, dtype="float32", scan_layers=False)
    torch.set_num_threads(threads)
    policy = token_policy(loaded.cfg)
    params = jax.tree.map(jnp.asarray, loaded.params)
    draw = np.random.default_rng(0).integers(1, shape[-1], (prompts, width))
    ids, mask = jnp.asarray(draw, jnp.int32), jnp.ones(draw.shape, bool)
    batch = prompts * group_size

    def ours(seed, temperature=1.0):
        return generate_jit(
            policy,
            params,
            ids,
            mask,
            group_size=group_size,
            max_new_tokens=length,
            sampling=sampling_params(batch, max_new=length, temperature=temperature),
            key=jax.random.key(seed),
        ).ids.block_until_ready()

    def theirs(seed, temperature=1.0):
        torch.manual_seed(seed)
        sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        with torch.inference_mode():
            return model.generate(
                input_ids=torch.tensor(draw).repeat_interleave(group_size, 0),
                attention_mask=torch.ones(batch, width, dtype=torch.long),
                max_new_tokens=length,
                **(sampling if temperature else {"do_sample": False}),
            )[:, width:]

    return ours, theirs


def clocked(function, seed):
    """Return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    function(seed)
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(name, *, samples, threads, prompts=16, group_size=4, width=32, length=128):
    """Return the figures of one shape."""
    ours, theirs = sides(SHAPES[name], threads, prompts, group_size, width, length)
    compile_s, _ = clocked(ours, 0)
    greedy = np.asarray(ours(0, 0.0)), theirs(0, 0.0).numpy()
    times = {"lrm_jax": [], "transformers": []}
    clocked(theirs, 0)
    for seed in range(1, samples + 1):
        times["lrm_jax"].append(clocked(ours, seed))
        times["transformers"].append(clocked(theirs, seed))
    tokens = prompts * group_size * length
    middle = {side: np.median(np.asarray(t), 0) for side, t in times.items()}
    wall, cpu = middle["transformers"] / middle["lrm_jax"]
    return {
        "shape": name,
        "threads": threads,
        "tokens": tokens,
        "tokens_per_s": {
            side: [round(tokens / wall) for wall, _ in t] for side, t in times.items()
        },
        "cpu_s": {side: round(float(m[1]), 3) for side, m in middle.items()},
        "ratio_wall": round(float(wall), 2),
        "ratio_cpu": round(float(cpu), 2),
        "ratio_wall_each": [
            round(b[0] / a[0], 2)
            for a, b in zip(times["lrm_jax"], times["transformers"], strict=True)
        ],
        "first_call_s": round(compile_s, 1),
        "greedy_tokens_equal": round(float(np.mean(greedy[0] == greedy[1])), 4),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, action="append")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    for name in args.shape or ("small", "large"):
        try:
            found = measure(name, samples=args.samples, threads=args.threads)
        except UserError as error:
            parser.exit(2, f"{error}\n")
        print(json.dumps(found))


if __name__ == "__main__":
    main()
