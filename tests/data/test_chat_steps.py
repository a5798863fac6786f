# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps as turns: each ends at the sign that answers it."""

import pytest

from lrm_jax.data.chat import ChatTemplate
from lrm_jax.data.chat_steps import tokenize_turns
from lrm_jax.data.tokenizer import ByteTokenizer, SymbolTokenizer
from lrm_jax.types import UserError

pytest.importorskip("jinja2", reason="needs the extra hf")
PLAIN = (
    "{% for m in messages %}[{{ m.role[0] }}]{{ m.content }};{% endfor %}"
    "{% if add_generation_prompt %}[a]{% endif %}"
)


def test_a_conversation_by_hand():
    tokenizer = ByteTokenizer()
    template = ChatTemplate(PLAIN, {})
    found = tokenize_turns(tokenizer, template, "1+1?", ["one", "two"], "+")
    text = "[u]1+1? one;[a]+;[u]two;[a]+"  # what follows the last sign is left out
    assert tokenizer.decode(found.ids) == text
    assert found.ends == [text.index("+", 5), len(text) - 1]
    told = tokenize_turns(tokenizer, template, "q", ["a"], "+", system="s")
    assert tokenizer.decode(told.ids) == "[s]s;[u]q a;[a]+"


def test_a_prefix_is_what_it_is_inside_the_whole():
    tokenizer, template = ByteTokenizer(), ChatTemplate(PLAIN, {})
    whole = tokenize_turns(tokenizer, template, "q", ["a", "b", "c"], "+")
    part = tokenize_turns(tokenizer, template, "q", ["a", "b"], "+")
    assert whole.ids[: len(part.ids)] == part.ids
    assert whole.ends[:2] == part.ends


@pytest.mark.parametrize(
    ("template", "prompt", "steps", "sign", "message"),
    [
        # The last answer is written otherwise than those before it.
        (
            "{% for m in messages %}[{{ m.role[0] }}]{{ m.content }}{{ loop.last }};"
            "{% endfor %}",
            *("q", ["a", "b"], "+", "step 1 of 2: the chat template"),
        ),
        # The sign is trimmed away.
        (
            "{% for m in messages %}{{ m.content if m.role == 'user' }}{% endfor %}",
            *("q", ["a"], "+", "no token ends the step"),
        ),
        (PLAIN, [{"role": "user", "content": "q"}], ["a"], "+", "need a text"),
        (PLAIN, "q", [], "+", "no steps"),
        (PLAIN, "q", ["a", " "], "+", "step 2 of 2 is empty"),
        (PLAIN, "q", ["a"], "++", r"'\+\+' is 2 tokens"),
    ],
)
def test_what_is_refused(template, prompt, steps, sign, message):
    with pytest.raises(UserError, match=message):
        tokenize_turns(ByteTokenizer(), ChatTemplate(template, {}), prompt, steps, sign)


def test_a_sign_that_joins_its_neighbour_is_refused():
    tokenizer = SymbolTokenizer([*"[]ua;q+ 1", "]+"])
    with pytest.raises(UserError, match="writes no '\\+' by itself"):
        tokenize_turns(tokenizer, ChatTemplate(PLAIN, {}), "q", ["1"], "+")
