# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The reward of a batch: parts, weights, form against budget, the user's function."""

import numpy as np
import pytest

from lrm_jax import config
from lrm_jax.data.tasks.addition import Addition
from lrm_jax.data.tasks.gsm8k import gsm8k
from lrm_jax.data.verify.reward_config import LengthConfig, RewardConfig, RewardError
from lrm_jax.data.verify.rewards import Rewarder
from lrm_jax.types import UserError

TASK = Addition(2, 2)
RIGHT = "<think>7+5=12,4+8+1=13</think><answer>132</answer>"
WRONG = "<think>7+5=12,4+8+1=13</think><answer>131</answer>"
EMPTY = "<think></think><answer>132</answer>"
PLAIN = "The answer is 132."


def score(cfg, completions, task=TASK, **given):
    count = len(completions)
    lengths = given.pop("lengths", [20] * count)
    with Rewarder(cfg, task) as rewarder:
        return rewarder.score(
            ["47+85="] * count,
            completions,
            ["132"] * count,
            given.pop("columns", {}),
            lengths,
            given.pop("thinking", [10] * count),
            given.pop("truncated", [False] * count),
            **given,
        )


def test_strict_and_lenient_side_by_side():
    result = score(RewardConfig(), [RIGHT, WRONG, EMPTY, PLAIN])
    assert result.strict.tolist() == [1, 0, 1, 0]
    assert result.lenient.tolist() == [1, 0, 1, 1]
    assert result.total.tolist() == [1, 0, 1, 0]
    assert result.status == ["right", "wrong", "right", "no_tag"]
    assert result.extracted == ["132", "131", "132", "132"]
    lenient = score(RewardConfig(reading="lenient"), [RIGHT, WRONG, EMPTY, PLAIN])
    assert lenient.total.tolist() == [1, 0, 1, 1]


def test_an_empty_thought_loses_the_format_reward_where_thinking_was_allowed():
    cfg = RewardConfig(format=0.25)
    result = score(cfg, [RIGHT, EMPTY, EMPTY, EMPTY, PLAIN], budgets=[8, 8, 0, -1, 0])
    assert result.parts["format"].tolist() == [1, 0, 1, 0, 0]
    assert result.total.tolist() == [1.25, 1, 1.25, 1, 0]
    assert score(cfg, ["<think> \n</think><answer>132</answer>"]).total[0] == 1


def test_the_gate_and_the_partial_reward():
    cfg = RewardConfig(format=0.1, gate="format", reading="lenient")
    assert score(cfg, [RIGHT, PLAIN]).total.tolist() == [np.float32(1.1), 0]
    partial = score(RewardConfig(partial=0.1), [RIGHT, WRONG, PLAIN, ""])
    assert partial.parts["partial"].tolist() == [0, 1, 0, 0]
    assert partial.total.tolist() == [1, np.float32(0.1), 0, 0]


def test_a_thought_that_the_prompt_opens_belongs_to_the_completion():
    with Rewarder(RewardConfig(format=1.0), TASK) as rewarder:
        tail = RIGHT.removeprefix("<think>")
        args = (["132"], {}, [20], [10], [False])
        assert rewarder.score(["47+85=<think>\n"], [tail], *args).total[0] == 2
        assert rewarder.score(["47+85="], [tail], *args).total[0] == 0
        messages = [{"role": "user", "content": "47+85="}]
        given = rewarder.score([messages], [tail], *args, prefixes=["<think>"])
        assert given.total[0] == 2
        closed = "<answer>132</answer>"
        prompt = "47+85=<think>\n\n</think>\n\n"
        result = rewarder.score([prompt], [closed], *args, budgets=[0])
        assert result.total[0] == 2


def test_kimi_length_is_weighted_and_warms_in():
    length = LengthConfig(rule="kimi", weight=0.5, warmup_steps=10)
    cfg = RewardConfig(length=length)
    texts = [RIGHT, RIGHT, WRONG, WRONG]
    result = score(cfg, texts, lengths=[10, 20, 10, 30], group_size=4, step=5)
    # shortest 10, longest 30: lambda is 1/2, 0, 1/2, -1/2
    assert result.parts["length"].tolist() == [0.5, 0, 0, -0.5]
    assert result.total.tolist() == [1.125, 1, 0, -0.125]
    assert score(cfg, texts, lengths=[10, 20, 10, 30], group_size=4).total[0] == 1


def test_length_counts_tokens_never_characters():
    cfg = RewardConfig(length=LengthConfig(rule="kimi"))
    padded = RIGHT.replace("<think>", "<think>" + "0" * 5000)
    result = score(cfg, [padded, RIGHT], lengths=[7, 7], group_size=2)
    assert result.parts["length"].tolist() == [0, 0]
    thought = LengthConfig(rule="kimi", counts="thought")
    result = score(
        RewardConfig(length=thought), [RIGHT, RIGHT], thinking=[3, 9], group_size=2
    )
    assert result.parts["length"].tolist() == [0.5, -0.5]


def test_l1_takes_the_budget_of_the_row():
    cfg = RewardConfig(length=LengthConfig(rule="l1_exact", alpha=0.1))
    result = score(cfg, [RIGHT, RIGHT], lengths=[10, 30], budgets=[10, 10])
    np.testing.assert_allclose(result.parts["length"], [0, -2], atol=1e-6)
    with pytest.raises(UserError, match="reward.length.target is 0"):
        score(cfg, [RIGHT], budgets=[-1])


def test_cosine_takes_the_place_of_accuracy():
    length = LengthConfig(
        rule="cosine", max_length=100, right_from=50, wrong_until=40, weight=8 / 13
    )
    cfg = RewardConfig(accuracy=0.0, length=length, repetition=1 / 13)
    result = score(
        cfg,
        [RIGHT, RIGHT, WRONG, WRONG, EMPTY, RIGHT],
        lengths=[10, 100, 10, 100, 10, 100],
        truncated=[False] * 5 + [True],
    )
    np.testing.assert_allclose(
        result.parts["length"],
        [1, 0.5, -0.75 - np.cos(np.pi / 4) / 4, -0.5, -1, -0.5],
        rtol=1e-6,
    )
    np.testing.assert_allclose(result.total, 8 / 13 * result.parts["length"], rtol=1e-6)


def test_adactrl_parts_over_groups():
    length = LengthConfig(rule="adactrl", weight=0.5, calibration=0.5)
    easy = [RIGHT.replace("<think>", "<think>[Easy]")] * 3 + [WRONG]
    hard = [WRONG.replace("<think>", "<think>[Hard]")] * 3 + [RIGHT]
    result = score(
        RewardConfig(length=length),
        easy + hard,
        lengths=[0, 5, 10, 10, 0, 5, 10, 10],
        group_size=4,
    )
    assert result.parts["calibration"].tolist() == [1, 1, 1, -1, 1, 1, 1, -1]
    np.testing.assert_allclose(
        result.parts["length"], [1, 0.5, 0, 0, 0, 0.5, 1, 0], atol=1e-7
    )
    np.testing.assert_allclose(result.total[:4], [2, 1.75, 1.5, -0.5], atol=1e-6)


def test_groups_must_be_whole():
    with pytest.raises(ValueError, match="3 completions in groups of 2"):
        score(RewardConfig(), [RIGHT] * 3, group_size=2)


def test_the_verifiers_deadline_is_the_rewards(tmp_path):
    row = '{"question": "Q?", "answer": "#### 1"}\n'
    (tmp_path / "train.jsonl").write_text(row)
    (tmp_path / "test.jsonl").write_text(row.replace("Q", "R"))
    task = gsm8k(str(tmp_path))
    with Rewarder(RewardConfig(verify_deadline_s=0.25), task):
        assert task._judge.cfg.deadline_s == 0.25


def test_language_and_repetition_parts():
    cfg = RewardConfig(language=1.0, repetition=1.0)
    text = "<think>hello there</think><answer>132</answer>"
    mixed = "<think>hello 你好 a b c d e a b c d e</think><answer>132</answer>"
    result = score(cfg, [text, mixed])
    assert result.parts["language"].tolist() == [1, np.float32(11 / 13)]
    assert result.parts["repetition"][0] == 0
    assert result.parts["repetition"][1] == np.float32(-1 / 9)


def test_bad_configs_are_refused():
    with pytest.raises(UserError, match="every part has weight 0"):
        RewardConfig(accuracy=0.0)
    with pytest.raises(UserError, match="every part has weight 0"):
        RewardConfig(accuracy=0.0, user="a.b:c", user_weight=0.0)
    with pytest.raises(UserError, match="every part has weight 0"):
        RewardConfig(accuracy=0.0, length=LengthConfig(rule="kimi", weight=0.0))
    with pytest.raises(UserError, match="reward.format=inf: expected a finite"):
        RewardConfig(format=float("inf"))
    with pytest.raises(UserError, match="reward.length.weight=nan: expected a"):
        LengthConfig(weight=float("nan"))
    with pytest.raises(UserError, match="language_code='xx'"):
        RewardConfig(language_code="xx")
    with pytest.raises(UserError, match="right_from < max_length"):
        LengthConfig(rule="cosine")
    cfg = RewardConfig(length=LengthConfig(rule="kimi"), user="a.b:c")
    assert config.from_dict(RewardConfig, config.to_dict(cfg)) == cfg


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """The module `my_rewards` in the working directory."""
    (tmp_path / "my_rewards.py").write_text(
        "import time\n"
        "import sys\n"
        "calls = 0\n"
        "def good(prompts, completions, answers, **columns):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    print('said', file=sys.stdout)\n"
        "    hard = columns.get('hard', [0] * len(prompts))\n"
        "    return [len(c) * 0.0 + h + calls for c, h in zip(completions, hard)]\n"
        "def numpy(prompts, completions, answers, **columns):\n"
        "    import numpy as np\n"
        "    return np.ones(len(prompts))\n"
        "def raises(prompts, completions, answers):\n"
        "    raise KeyError('no such thing')\n"
        "def nan(prompts, completions, answers):\n"
        "    return [1.0] * (len(prompts) - 1) + [float('nan')]\n"
        "def inf(prompts, completions, answers):\n"
        "    return [float('inf')] * len(prompts)\n"
        "def short(prompts, completions, answers):\n"
        "    return [1.0]\n"
        "def words(prompts, completions, answers):\n"
        "    return ['one'] * len(prompts)\n"
        "def nothing(prompts, completions, answers):\n"
        "    return None\n"
        "def hangs(prompts, completions, answers):\n"
        "    time.sleep(60)\n"
        "def spins(prompts, completions, answers):\n"
        "    return 9 ** 9 ** 9 ** 9\n"
        "def dies(prompts, completions, answers):\n"
        "    import os; os._exit(7)\n"
        "value = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    return "my_rewards"


def test_a_users_reward_sees_columns_and_keeps_its_state(user_module):
    cfg = RewardConfig(accuracy=0.0, user=f"{user_module}:good", user_weight=2.0)
    with Rewarder(cfg, TASK) as rewarder:
        args = (["47+85="] * 2, [RIGHT, WRONG], ["132"] * 2, {"hard": [0, 5]})
        rest = ([20] * 2, [10] * 2, [False] * 2)
        first = rewarder.score(*args, *rest)
        again = rewarder.score(*args, *rest)
    assert first.total.tolist() == [2, 12]
    assert again.parts["user"].tolist() == [2, 7]
    assert (first.errors, again.errors) == (0, 0)
    numpy = score(RewardConfig(user=f"{user_module}:numpy"), [RIGHT, WRONG])
    assert numpy.total.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "KeyError: 'no such thing' .*my_rewards.py:14"),
        ("nan", "reward 1 is nan"),
        ("inf", "reward 0 is inf"),
        ("short", "returned 1 rewards for 2 completions"),
        ("words", "reward 0 is 'one', not a number"),
        ("nothing", "returned a NoneType, not a list of 2 numbers"),
        ("hangs", "no result within 0.5 s"),
        ("spins", "no result within 0.5 s"),
        ("dies", "ended with status 7"),
    ],
)
def test_a_users_failing_reward_stops_or_counts(user_module, name, message):
    cfg = RewardConfig(user=f"{user_module}:{name}", user_deadline_s=0.5)
    with pytest.raises(RewardError, match=message) as caught:
        score(cfg, [RIGHT, WRONG])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"reward.user='{user_module}:{name}': ")
    cfg = config.replace(cfg, {"on_error": "zero"})
    result = score(cfg, [RIGHT, WRONG])
    assert result.total.tolist() == [1, 0]
    assert (result.errors, result.parts["user"].tolist()) == (2, [0, 0])


def test_a_users_reward_that_is_not_there(user_module):
    for path, message in {
        "my_rewards:absent": "has no attribute 'absent'",
        "my_rewards:value": "value is a int, not a function",
        "no_such_module:f": "No module named 'no_such_module'",
        "my_rewards": "expected package.module:name",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            Rewarder(RewardConfig(user=path), TASK)
        assert str(caught.value).startswith(f"reward.user='{path}': ") or ":" in message
