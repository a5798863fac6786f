# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm train`, `sample` and `eval` on a tiny policy: JSON keys, budgets, bad input."""

import json
import shutil

import pytest

from lrm_jax.cli.main import main
from tests.recipes.test_sft import QUICK, TINY


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy") / "run"
    words = [*TINY, *QUICK, "train.total_steps=2", "--run-dir", str(folder)]
    assert main(["train", "sft_addition_tiny", *words]) == 0
    return folder


@pytest.fixture
def run_json(capfd):
    def call(*words):
        code = main([*map(str, words), "--json"])
        out, _ = capfd.readouterr()
        assert out.count("\n") == 1 and out.endswith("\n")
        return code, json.loads(out)

    return call


@pytest.fixture
def refused(capfd):
    def call(*words):
        assert main([str(word) for word in words]) == 2
        out, err = capfd.readouterr()
        assert out == "" and "Traceback" not in err
        assert err.startswith("lrm: error: ") and err.count("\n") == 1, err
        return err.removeprefix("lrm: error: ").rstrip()

    return call


def test_sample(run_json, run_dir):
    words = ["sample", run_dir, "--prompt", "1+2=", "--n", 4, "--max-new", 12]
    code, data = run_json(*words)
    assert code == 0 and data["step"] == 2 and len(data["completions"]) == 4
    for one in data["completions"]:
        assert set(one) >= {"text", "tokens", "logprob", "thinking_tokens", "stop"}
        assert one["tokens"] == len(one["ids"]) <= 12 and one["logprob"] < 0
        assert one["stop"] in ("length", "stop_id", "stop_string")
    assert run_json(*words)[1] == data
    other = run_json(*words, "--seed", 1)[1]["completions"]
    assert [c["ids"] for c in other] != [c["ids"] for c in data["completions"]]
    greedy = run_json(*words, "--temperature", 0)[1]["completions"]
    assert all(one["ids"] == greedy[0]["ids"] for one in greedy)


@pytest.mark.parametrize(("budget", "wanted"), [("0", 0), ("4", 4), ("low", 3)])
def test_sample_under_a_budget(run_json, run_dir, budget, wanted):
    words = ["sample", run_dir, "--prompt", "1+2=", "--n", 4, "--max-new", 12]
    _, data = run_json(*words, "--budget", budget)
    thoughts = [one["thinking_tokens"] for one in data["completions"]]
    if budget == "low":
        assert max(thoughts) <= wanted
    else:
        assert thoughts == [wanted] * 4
    assert all(one["text"].startswith("<think>") for one in data["completions"])


def test_sample_thinks_at_least_so_long_on_any_lanes(run_json, run_dir):
    words = ["sample", run_dir, "--prompt", "1+2=", "--n", 4, "--max-new", 12]
    words += ["--min-thinking", 6, "--budget", "8+halt"]
    _, data = run_json(*words)
    thoughts = [one["thinking_tokens"] for one in data["completions"]]
    assert min(thoughts) >= 6 and max(thoughts) <= 8
    _, other = run_json(*words, "--lanes", 2)
    ids = lambda found: [one["ids"] for one in found["completions"]]
    assert ids(other) == ids(data)


def test_sample_until_a_stop_string(run_json, run_dir):
    words = ["sample", run_dir, "--prompt", "1+2=", "--n", 4, "--max-new", 12]
    stops = ["--stop", *"0123456789"]
    _, data = run_json(*words, *stops)
    stopped = [c for c in data["completions"] if c["stop"] == "stop_string"]
    assert stopped and not any(set(c["text"]) & set("0123456789") for c in stopped)


def test_eval(run_json, run_dir, tmp_path):
    code, data = run_json("eval", run_dir, "--budget", "0", "5", "-1", "--cap", "10")
    assert code == 0 and data["n"] == 12
    assert [row["budget"] for row in data["results"]] == ["0", "5", "-1"]
    assert [row["mean_steps"] for row in data["results"]][:2] == [0, 5]
    for row in data["results"]:
        low, high = row["ci95"]
        assert low <= row["exact_accuracy"] <= row["lenient_accuracy"] + 1e-9
        assert row["exact_accuracy"] <= high
    written = json.loads((run_dir / "report" / "eval.json").read_text())
    assert written["results"] == data["results"]
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "1+1=", "answer": "2"}\n' * 3)
    code, data = run_json("eval", run_dir, "--data", path)
    assert (code, data["n"], data["data"]) == (0, 3, str(path))


def test_eval_thinks_at_least_so_long_on_any_lanes(run_json, run_dir):
    words = ["eval", run_dir, "--budget", "8+halt", "--min-thinking", 6]
    (row,) = run_json(*words)[1]["results"]
    assert 6 <= row["mean_steps"] <= 8
    assert run_json(*words, "--lanes", 3)[1]["results"] == [row]


def test_people_read_text(run_dir, capfd):
    words = ["--prompt", "1+2=", "--n", "4", "--max-new", "12"]  # compiled before
    assert main(["sample", str(run_dir), *words]) == 0
    assert "of thought, log-prob" in capfd.readouterr().out
    assert main(["eval", str(run_dir)]) == 0
    assert "12 prompts, checkpoint of step 2" in capfd.readouterr().out
    assert main(["presets"]) == 0
    assert "sft_addition_tiny" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompt", ""], "prompt: the prompt is empty"),
        (["--prompt", " "], "prompt: the prompt is empty"),
        (["--prompt", "2 + x"], "character ' ' (U+0020) at place 2 of '2 + x' is not"),
        (["--prompt", "1" * 70], "prompt 0: 70 tokens, longer than the cache has room"),
        (["--prompt", "1+1=", "--n", "0"], "--n 0: expected 1 or more"),
        (["--prompt", "1+1=", "--max-new", "0"], "--max-new 0: expected 1 or more"),
        (["--prompt", "1+1=", "--max-new", "80"], "max_new=80 leaves no room for a"),
        (["--prompt", "1+1=", "--top-p", "0"], "sampling top_p 0.0: accepted: (0, 1]"),
        (["--prompt", "1+1=", "--temperature", "-1"], "sampling temperature -1.0: acc"),
        (["--prompt", "1+1=", "--temperature", "nan"], "sampling temperature nan: acc"),
        (["--prompt", "1+1=", "--budget", "99"], "budget '99': beyond the cap of 24"),
        (["--prompt", "1+1=", "--budget", "lots"], "budget 'lots'"),
        (["--prompt", "1+1=", "--min-thinking", "-1"], "--min-thinking -1: expected 0"),
        (["--prompt", "1+1=", "--min-thinking", "25"], "min_thinking=25: budget '-1'"),
        (["--prompt", "1+1=", "--wait", "hm"], "--wait: takes the place of an end"),
        (["--prompt", "1+1=", "--lanes", "-1"], "--lanes -1: expected 0 or more"),
        (["--prompt", "1+1=", "--stop", ""], "stop string '': empty"),
        (["--prompt", "1+1=", "--seed", "-1"], "--seed -1: expected between 0 and"),
        ([], "the following arguments are required: --prompt"),
    ],
)
def test_sample_refuses(refused, run_dir, words, message):
    assert refused("sample", run_dir, *words).startswith(message)


def test_eval_refuses(refused, run_dir, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "1+1=", "answer": "2"}\n{"prompt": ""}\n')
    assert refused("eval", run_dir, "--data", path).startswith(f"{path}, line 2")
    path.write_text('{"prompt": "x", "answer": "2"}\n')
    assert "character 'x' (U+0078) at place 1" in refused(
        "eval", run_dir, "--data", path
    )
    assert "no such file" in refused("eval", run_dir, "--data", tmp_path / "none")
    assert "--compact: for latent reasoners" in refused("eval", run_dir, "--compact")
    for name in ("--lanes", "--min-thinking"):
        message = f"{name} -1: expected 0 or more"
        assert refused("eval", run_dir, name, -1) == message
    assert "min_thinking=25" in refused("eval", run_dir, "--min-thinking", 25)
    message = refused("eval", run_dir, "--halting", "fixed")
    assert message.startswith("--halting: for latent reasoners")
    message = refused("solve", run_dir, "--puzzle", "1...")
    assert message.endswith("a token policy solves no puzzles; see lrm sample")


@pytest.mark.parametrize(
    "words", [["eval"], ["sample", "--prompt", "1+2=", "--n", 4, "--max-new", 12]]
)
def test_which_checkpoint_it_fell_back_to_is_said(run_json, run_dir, tmp_path, words):
    run = shutil.copytree(run_dir, tmp_path / "run")
    (run / "checkpoints/4").mkdir()
    code, data = run_json(words[0], run, *words[1:])
    assert code == 0 and data["step"] == 2
    assert data["warning"].startswith("checkpoint 4 cannot be used: half-written")
    assert data["warning"].endswith(": step 2")


def test_runs_that_are_none(refused, run_dir, tmp_path):
    words = ["--prompt", "1+1="]
    assert "is not a run folder" in refused("sample", tmp_path, *words)
    assert "has no checkpoint 7" in refused("sample", f"{run_dir}@7", *words)
    broken = tmp_path / "broken"
    shutil.copytree(run_dir, broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"recipe": "ppo"}))
    message = refused("sample", broken, *words)
    assert message.startswith(f"{broken}/config.json: recipe='ppo': expected one of")
    config["model"]["d_model"] = 32
    (broken / "config.json").write_text(json.dumps(config))
    message = refused("sample", broken, *words)
    assert "'embed_tokens/embedding' is [19, 16] there and [19, 32]" in message
    assert message.count(" by model.*") == 5 and message.endswith(" more")


def test_what_inherit_overrules_is_said_in_one_line(run_dir, capfd):
    words = ["train", "sft_addition_tiny", *TINY, *QUICK, "inherit=true"]
    words += ["--init-from", str(run_dir), "--dry-run"]
    assert main([*words, "model.remat=block"]) == 0
    assert "inherit=true" not in capfd.readouterr().err
    wrong = ["model.d_model=999", "--model.n-layers", "77", "--model.qk-norm"]
    assert main([*words, *wrong]) == 0
    out, err = capfd.readouterr()
    assert '"d_model": 16' in out
    assert err.count("inherit=true takes from") == 1
    assert f"from {run_dir}: model.d_model=16 (not 999), model.n_layers=1 (n" in err
    assert "model.qk_norm=False (not True)" in err


def test_a_dry_run_refuses_adapters_that_the_run_would(refused, run_dir):
    words = ["train", "grpo_addition", "inherit=true", "--init-from", run_dir]
    words += ["lora=LoraConfig", "mesh.data=1", "--dry-run"]
    message = refused(*words, "lora.targets=nope")
    assert message.startswith("lora.targets='nope': matches no projection; there are")
    assert refused(*words, "lora.rank=0").startswith("lora.rank=0: expected 1 or more")


def test_training_refuses(refused, tmp_path):
    train = ["train", "sft_addition_tiny", *TINY, "--run-dir", tmp_path / "run"]
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "1", "answer": "1"}\n\n{"prompt": "1", "ansver": 1}\n')
    files = ["task=none", "model.vocab_size=0", "tokenizer.kind=bytes"]
    message = refused(*train, *files, f"data.path={path}")
    assert message.startswith(f"{path}, line 3: nothing to learn: no 'answer'")
    message = refused(*train, "data.path=x.jsonl")
    assert message.startswith("data.path='x.jsonl' and task 'addition': give one of")
    message = refused(*train, "tokenizer.kind=hf", f"tokenizer.path={tmp_path}")
    assert message.startswith(f"{tmp_path}/tokenizer.json: no such file")
    message = refused("train", "sft_jsonl", "--run-dir", tmp_path / "run")
    assert message.startswith("inherit=true takes model and tokenizer from another")
    message = refused(*train, "--init-from", tmp_path / "nowhere")
    assert "is not a run folder" in message
    assert not (tmp_path / "run").exists()
