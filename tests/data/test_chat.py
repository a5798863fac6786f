# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Templates render as in transformers, in a sandbox; `raw` turns them off."""

import sys

import pytest

from lrm_jax.data import chat
from lrm_jax.data.chat import ChatTemplate, PromptEncoder, find_template
from lrm_jax.data.hf_tokenizer import HfTokenizer
from lrm_jax.data.tokenizer import SymbolTokenizer
from lrm_jax.types import UserError
from tests.data import hf_folders

# As Qwen3 writes it, in short: turns, a system line, an empty thought on request.
TURNS = """\
{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nhelp<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
ODD = """\
{{ bos_token }}{% for m in messages %}
  {% if loop.index > 3 %}{% break %}{% endif %}
  {% generation %}{{ m | tojson }}{% endgeneration %}
  {% set x = namespace(n=0) %}{% set x.n = x.n + 1 %}{{ x.n }}|{{ m.content | trim }}
{% endfor %}{{ tools is none }}
"""
TALK = [
    {"role": "user", "content": "Hi <b> é \u2028 'q' "},
    {"role": "assistant", "content": "Hm."},
    {"role": "user", "content": "1+1?"},
]


@pytest.fixture
def folder(tmp_path):
    return hf_folders.byte_level(tmp_path / "model", chat_template=TURNS)


def test_prompts_become_turns(folder):
    encode = PromptEncoder(HfTokenizer(folder))
    text = (
        "<|im_start|>system\nhelp<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert encode.text("1+1?") == text
    assert encode("1+1?") == encode.tokenizer.encode(text)
    assert encode("1+1?")[0] == 1  # <|im_start|> as one token
    assert encode([{"role": "user", "content": "1+1?"}]) == encode("1+1?")
    quiet = PromptEncoder(encode.tokenizer, enable_thinking=False)
    assert quiet.text("1+1?") == text + "<think>\n\n</think>\n\n"
    told = PromptEncoder(encode.tokenizer, system="no")
    assert told.text("1+1?") == text.replace("help", "no")


def test_raw_turns_the_template_off(folder, tmp_path):
    encode = PromptEncoder(HfTokenizer(folder), raw=True)
    assert encode("1+1?") == encode.tokenizer.encode("1+1?")
    assert encode.text(TALK) == "Hi <b> é \u2028 'q' \nHm.\n1+1?"
    begins = HfTokenizer(hf_folders.sentence_piece(tmp_path / "sp"))
    assert PromptEncoder(begins)("ab")[0] == 1
    assert PromptEncoder(begins, raw=True)("ab") == PromptEncoder(begins)("ab")


def test_where_templates_are_found(tmp_path):
    folder = hf_folders.byte_level(tmp_path)
    assert find_template(folder) is None
    several = [{"name": "tool_use", "template": "T"}]
    hf_folders.edit(folder, "tokenizer_config.json", chat_template=several)
    with pytest.raises(UserError, match="none is named 'default'; there are: 'tool_us"):
        find_template(folder)
    several.append({"name": "default", "template": "D"})
    hf_folders.edit(folder, "tokenizer_config.json", chat_template=several)
    assert find_template(folder) == ("D", str(folder / "tokenizer_config.json"))
    (folder / "chat_template.jinja").write_text("J")
    assert find_template(folder) == ("J", str(folder / "chat_template.jinja"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('roles must\\nalternate') }}", "roles must alternate"),
        ("{{ messages.append(1) }}", "SecurityError|unsafe|not safely callable"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ messages[0].content + 1 }}", "can only concatenate str"),
        ("{{ 1 // 0 }}", "ZeroDivisionError: "),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError: "),
        ("{{ missing.attribute }}", "'missing' is undefined"),
    ],
)
def test_what_a_template_may_not_do(source, message):
    template = ChatTemplate(source, {}, where="model/chat_template.jinja")
    with pytest.raises(UserError, match=message) as excinfo:
        template.render([{"role": "user", "content": "x"}])
    assert str(excinfo.value).startswith("model/chat_template.jinja: ")


def test_a_damaged_template_is_refused():
    with pytest.raises(UserError, match="chat template: .*unexpected '}'"):
        ChatTemplate("{% if }", {})


def test_messages_need_a_template():
    encode = PromptEncoder(SymbolTokenizer("12+=\n"))
    assert encode("1+1=") == [2, 4, 2, 5]
    with pytest.raises(UserError, match="list of messages and the tokenizer has no"):
        encode([{"role": "user", "content": "1+1="}])
    joined = PromptEncoder(encode.tokenizer, raw=True)
    assert joined([{"role": "user", "content": "1+1="}]) == [2, 4, 2, 5]
    with pytest.raises(UserError, match="data.system needs a chat template"):
        PromptEncoder(encode.tokenizer, system="1")
    with pytest.raises(UserError, match="prompt: the prompt is empty"):
        encode("  ")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    chat._environment.cache_clear()
    with pytest.raises(UserError, match=r"jinja2 .*pip install 'lrm-jax\[hf\]'"):
        ChatTemplate("x", {})


@pytest.mark.reference
@pytest.mark.parametrize("source", [TURNS, ODD])
def test_as_transformers_renders(tmp_path, source):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed (extra reference)"
    )
    folder = hf_folders.sentence_piece(tmp_path, chat_template=source)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    ours = chat.template_of(HfTokenizer(folder))
    for settings in ({}, {"enable_thinking": False}):
        for add in (True, False):
            text = theirs.apply_chat_template(
                TALK, tokenize=False, add_generation_prompt=add, **settings
            )
            assert ours.render(TALK, add_generation_prompt=add, **settings) == text
