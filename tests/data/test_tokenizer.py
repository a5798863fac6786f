# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exact round trips; what each token writes; ends and padding; what is refused."""

import random
import sys

import pytest

from lrm_jax.data.hf_tokenizer import HfTokenizer, gpt2_byte_map
from lrm_jax.data.tokenizer import (
    DEFAULT_SYMBOLS,
    ByteTokenizer,
    SymbolTokenizer,
    TokenizerConfig,
    make_tokenizer,
    pad_is_end,
)
from lrm_jax.types import UserError
from tests.data import hf_folders

TEXTS = ["", "the lazy dog", " two  spaces\n\ttab", "Ünï 数学 🙂 \u2028 end", "a" * 99]


def test_symbols_are_matched_longest_first():
    tokenizer = SymbolTokenizer(["<", "think", "<think>", "1", "12", "\n"])
    assert tokenizer.encode("<think>12<1\n") == [4, 6, 2, 5, 7]
    assert tokenizer.decode([0, 4, 6, 2, 5, 7, 1, 0]) == "<think>12<1\n"
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_ids) == (8, 0, (1,))
    assert tokenizer.token_bytes()[:5] == [b"", b"", b"<", b"think", b"<think>"]
    assert not pad_is_end(tokenizer)


def test_symbols_round_trip_exactly():
    tokenizer = SymbolTokenizer(DEFAULT_SYMBOLS)
    rng = random.Random(0)
    for _ in range(50):
        text = "".join(rng.choices(DEFAULT_SYMBOLS, k=rng.randint(0, 30)))
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert b"".join(tokenizer.token_bytes()[i] for i in ids) == text.encode()


def test_greedy_cutting_is_not_the_only_one():
    tokenizer = SymbolTokenizer(["ab", "a", "b"])
    ids = [3, 4]  # a policy may write "a" and "b"; encoding joins them
    assert tokenizer.encode(tokenizer.decode(ids)) == [2] != ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("12x", r"character 'x' \(U\+0078\) at place 3 of '12x' is not in the vocab"),
        ("1\u2028", r"\(U\+2028\) at place 2"),
        ("1" * 50 + "é" + "1" * 50, r"place 51 of '\.\.\.1+é1+\.\.\.'"),
    ],
)
def test_unknown_text_is_named(text, message):
    with pytest.raises(UserError, match=message):
        SymbolTokenizer(["1", "2"]).encode(text)


@pytest.mark.parametrize("symbols", [[], ["a", ""], ["a", "b", "a"]])
def test_bad_symbols_are_refused(symbols):
    with pytest.raises(UserError, match="tokenizer.symbols"):
        SymbolTokenizer(symbols)


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_round_trip(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode([*ids, 1, 0, 0]) == text
    assert b"".join(tokenizer.token_bytes()[i] for i in ids) == text.encode()
    assert all(2 <= i < tokenizer.vocab_size for i in ids)


def test_half_a_character_shows_as_a_replacement():
    tokenizer = ByteTokenizer()
    assert tokenizer.decode(tokenizer.encode("é")[:1]) == "\ufffd"
    assert tokenizer.decode([300, -1, *tokenizer.encode("a")]) == "a"


def test_byte_map_is_a_bijection_with_known_points():
    table = gpt2_byte_map()
    assert sorted(table.values()) == list(range(256))
    assert (table["Ġ"], table["Ċ"], table["a"], table["Ń"]) == (32, 10, 97, 0xAD)


@pytest.mark.parametrize("text", TEXTS)
def test_byte_level_round_trip(tmp_path, text):
    tokenizer = HfTokenizer(hf_folders.byte_level(tmp_path))
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(tokenizer.token_bytes()[i] for i in ids) == text.encode()


def test_byte_level_tags_and_special_tokens(tmp_path):
    tokenizer = HfTokenizer(hf_folders.byte_level(tmp_path))
    ids = tokenizer.encode("<think>hm</think><|im_end|>")
    assert ids[-1] == tokenizer.eos_ids[0] and len(ids) == 5
    assert tokenizer.decode(ids) == "<think>hm</think>"
    written = tokenizer.token_bytes()
    assert written[ids[0]] == b"<think>" and written[ids[-1]] == b""
    assert len(written) == tokenizer.vocab_size == max(ids) + 1
    assert tokenizer.decode([*ids, tokenizer.vocab_size + 3]) == "<think>hm</think>"


@pytest.mark.parametrize("text", ["ab a é 🙂", "a\nb", "x = 1"])
def test_sentence_piece_bytes_are_the_text_behind_one_space(tmp_path, text):
    tokenizer = HfTokenizer(hf_folders.sentence_piece(tmp_path))
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(tokenizer.token_bytes()[i] for i in ids) == b" " + text.encode()
    assert tokenizer.bos_ids == (1,) and 1 not in ids
    assert tokenizer.eos_ids == (2,)
    assert pad_is_end(tokenizer) and tokenizer.pad_id == 2


def test_word_vocabularies(tmp_path):
    from tokenizers import decoders

    plain = HfTokenizer(hf_folders.words(tmp_path / "plain"))
    assert plain.token_bytes()[1:3] == [b" one", b" two"]
    assert plain.decode(plain.encode("one two")) == "one two"
    word_piece = HfTokenizer(
        hf_folders.words(tmp_path / "piece", decoders.WordPiece(prefix="##"))
    )
    assert word_piece.token_bytes()[1:4] == [b" one", b" two", b"s"]
    fused = HfTokenizer(hf_folders.words(tmp_path / "fused", decoders.Fuse()))
    assert fused.token_bytes()[1] == b"one" and fused.decode([1, 2]) == "onetwo"
    strange = HfTokenizer(hf_folders.words(tmp_path / "ctc", decoders.CTC()))
    with pytest.raises(UserError, match="decoder CTC is unknown; known are"):
        strange.token_bytes()


def test_all_ends_are_found_the_tokenizers_own_first(tmp_path):
    folder = hf_folders.byte_level(tmp_path)
    hf_folders.edit(folder, "generation_config.json", eos_token_id=[0, 2])
    hf_folders.edit(folder, "config.json", eos_token_id=1, pad_token_id=0)
    tokenizer = HfTokenizer(folder)
    assert tokenizer.eos_ids == (2, 0, 1)
    assert tokenizer.pad_id == 3  # the tokenizer's own word comes first


def test_padding_from_the_config_or_an_end(tmp_path):
    folder = hf_folders.byte_level(tmp_path, pad_token=None)
    assert pad_is_end(HfTokenizer(folder))
    hf_folders.edit(folder, "config.json", pad_token_id=-1)
    assert pad_is_end(HfTokenizer(folder))
    hf_folders.edit(folder, "config.json", pad_token_id=1)
    assert HfTokenizer(folder).pad_id == 1 and not pad_is_end(HfTokenizer(folder))


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="tokenizer.json: no such file"):
        HfTokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(UserError, match="tokenizer.json: not a tokenizer"):
        HfTokenizer(tmp_path)
    folder = hf_folders.byte_level(tmp_path / "a", eos_token=None)
    with pytest.raises(UserError, match="a: no end token; name one as eos_token"):
        HfTokenizer(folder)
    hf_folders.edit(folder, "generation_config.json", eos_token_id=9000)
    with pytest.raises(UserError, match="eos_token_id=9000: expected an id below 363"):
        HfTokenizer(folder)
    folder = hf_folders.byte_level(tmp_path / "b", eos_token="<|missing|>")
    with pytest.raises(UserError, match="eos_token='<|missing|>' is not in the vocab"):
        HfTokenizer(folder)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(UserError, match="config.json: expected an object, got list"):
        HfTokenizer(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json: not valid JSON"):
        HfTokenizer(folder)


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"pip install 'lrm-jax\[hf\]'"):
        HfTokenizer(tmp_path)


def test_configs(tmp_path):
    own = SymbolTokenizer("01")
    assert make_tokenizer(TokenizerConfig(), own) is own
    assert isinstance(make_tokenizer(TokenizerConfig()), ByteTokenizer)
    assert isinstance(make_tokenizer(TokenizerConfig("bytes"), own), ByteTokenizer)
    symbols = make_tokenizer(TokenizerConfig("symbols", symbols=("x", "yz")))
    assert symbols.encode("yzx") == [3, 2]
    assert make_tokenizer(TokenizerConfig("symbols")).encode("</think>") == [3]
    folder = str(hf_folders.byte_level(tmp_path))
    assert isinstance(make_tokenizer(TokenizerConfig("hf", folder)), HfTokenizer)
    for kwargs, message in [
        ({"kind": "hf"}, "tokenizer.path is empty"),
        ({"kind": "bytes", "path": "x"}, "tokenizer.path='x' has no meaning"),
        ({"kind": "bytes", "symbols": ("x",)}, "tokenizer.symbols has no meaning"),
    ]:
        with pytest.raises(UserError, match=message):
            TokenizerConfig(**kwargs)


@pytest.mark.reference
def test_ids_and_text_are_those_of_transformers(tmp_path):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed (extra reference)"
    )
    for make in (hf_folders.byte_level, hf_folders.sentence_piece):
        folder = make(tmp_path / make.__name__)
        theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        ours = HfTokenizer(folder)
        for text in TEXTS:
            raw = [*ours.bos_ids, *ours.encode(text)]
            assert raw == theirs(text)["input_ids"]
            shown = theirs.decode(raw, skip_special_tokens=True)
            assert ours.decode(raw) == shown
        assert ours.eos_ids[0] == theirs.eos_token_id
