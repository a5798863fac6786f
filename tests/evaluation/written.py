# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Completions as a run writes them, and run folders that hold them."""

import json

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def line(
    *,
    step=10,
    split="train",
    prompt="17+28=",
    answer="45",
    thought=("7", "+", "8", "=", "15", ",", "1", "+", "2", "+", "1", "=", "4"),
    said="45",
    advantage: float | None = 0.5,
    status: str | None = None,
    forced=(),
    logp=-0.25,
    **changes,
):
    """Return one line of samples.jsonl as a dict."""
    tokens = ["<think>", *thought, "</think>", "<answer>", *said, "</answer>", "<eos>"]
    right = float(said == answer)
    return {
        "step": step,
        "split": split,
        "prompt": prompt,
        "answer": answer,
        "completion": "".join(tokens[:-1]),
        "tokens": tokens,
        "logps": [logp * (i % 5) for i in range(len(tokens))],
        "forced": [i in forced for i in range(len(tokens))],
        "advantage": advantage,
        "reward": right,
        "parts": {"accuracy": right},
        "verdict": {
            "strict": right,
            "lenient": right,
            "status": status or ("right" if right else "wrong"),
            "extracted": said,
        },
        "stop": "id",
        **changes,
    }


def write_lines(path, lines):
    """Write records, one a line."""
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def two_steps():
    """A group of four at step 10, one of two at step 20, an evaluation at 20."""
    nine = {"prompt": "9+9=", "answer": "18", "said": "18", "advantage": 0.0}
    last = {"prompt": "5+4=", "answer": "9", "said": "9", "advantage": None}
    return [
        line(advantage=0.75),
        line(said="35", advantage=-0.25, logp=-1.0),
        line(said="44", advantage=-0.25, forced=(12, 13)),
        line(said="54", advantage=-0.25, status="no_tag"),
        line(step=20, **nine),
        line(step=20, **nine),
        line(step=20, split="eval", **last),
    ]


RECORDS = [
    {
        "step": s,
        "time_s": float(s),
        "reward/mean": 0.1 + s / 50,
        "reward/accuracy": 0.1 + s / 50,
        "entropy/mean": 1.0 / s,
        "kl/ref_k3": 0.001 * s,
        "completions/mean_length": 20.0 + s,
        "groups/no_signal_mean": 0.3,
        "sampling/logp_difference_mean": 1e-6,
        "sampling/logp_difference_max": 1e-5,
    }
    for s in range(1, 21)
]


def make_policy_run(folder, *, recipe="grpo", name="adder", seed=0, lines=None):
    """Make the run folder of a token policy."""
    (folder / "report").mkdir(parents=True)
    config = {"recipe": recipe, "name": name, "seed": seed}
    (folder / "config.json").write_text(json.dumps(config))
    alarm = {"step": 12, "alarm": "no_signal", "message": "no signal: in 99% <b>"}
    evaluated = {"step": 20, "time_s": 20.5, "eval/greedy_accuracy": 0.75}
    write_lines(folder / "metrics.jsonl", [*RECORDS, alarm, evaluated])
    result = {
        **{"budget": "-1", "exact_accuracy": 0.75, "ci95": [0.7, 0.8]},
        **{"lenient_accuracy": 0.8, "mean_steps": 13.0, "mean_tokens": 20.5},
        "truncated": 0.01,
    }
    evaluation = {"n": 512, "results": [result], "data": "own test set", "step": 20}
    (folder / "report" / "eval.json").write_text(json.dumps(evaluation))
    write_lines(folder / "samples.jsonl", two_steps() if lines is None else lines)
    return folder
