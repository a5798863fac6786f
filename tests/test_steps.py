# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Step ends: joined = step by step = on the device, or an error; never a guess."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data.hf_tokenizer import HfTokenizer
from lrm_jax.data.tokenizer import ByteTokenizer, SymbolTokenizer
from lrm_jax.steps import (
    StepRule,
    find_step_ends,
    join_steps,
    split_steps,
    step_end_mask,
    step_table,
    tokenize_steps,
)
from lrm_jax.types import UserError
from tests.data import hf_folders

SEPARATORS = ("\n", "\n\n", "\n \n", ". ", " ки", "。", "<step>", "a")
ATOMS = (
    *(
        "x = 1",
        "1.5 + 2",
        "数学题。",
        "第一步",
        r"\frac{1}{2}",
        "$$a^2$$",
        "\\\\",
        "é🙂",
    ),
    *(
        ". ",
        ".",
        "\n",
        "\n\n",
        " ",
        "\n \n",
        "ки",
        " ки",
        "a",
        "<step",
        ">",
        "\r\n",
        "",
    ),
)
CAUSES = ("makes a separator", "no token ends", "does not write the text as it is")
_MASK = jax.jit(step_end_mask)


def _texts(count: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Separators and steps; many steps hold, end in or begin with a separator."""
    rng = random.Random(seed)
    return [
        (
            rng.choice(SEPARATORS),
            [
                "".join(rng.choices(ATOMS, k=rng.choice([1, 1, 2, 3])))
                for _ in range(rng.randint(1, 4))
            ],
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("tokenizers")
    alphabet = sorted(set("".join((*SEPARATORS, *ATOMS))) | set(" :?12+=."))
    return {
        "bytes": ByteTokenizer(),
        "symbols": SymbolTokenizer([*alphabet, "1.", "\n\n", "\n \n", "x ="]),
        "byte_level": HfTokenizer(hf_folders.byte_level(folder / "byte_level")),
        "sentence_piece": HfTokenizer(hf_folders.sentence_piece(folder / "sp")),
        "like_qwen": _like_qwen(folder / "like_qwen"),
    }


def _like_qwen(folder):
    """Cut before merging as Qwen's: signs take the line ends after them along."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    pattern += r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    cut = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    tokenizer = tokenizers.Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=hf_folders.SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ["x = 1.\n\ny + 2:\n a.\n \n\n first. second"] * 5
    tokenizer.train_from_iterator(texts, trainer)
    named = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    return HfTokenizer(hf_folders.write(folder, tokenizer, named))


def _independent_ends(ids: list[int], written: list[bytes], lengths: list[int]):
    """Where tokens have written so many bytes; None where none ends there."""
    total = np.cumsum([len(written[i]) for i in ids]).tolist()
    return [total.index(n) if n in total else None for n in lengths]


@pytest.mark.parametrize("last", ["separator", "text"])
@pytest.mark.parametrize(
    "name", ["bytes", "symbols", "byte_level", "sentence_piece", "like_qwen"]
)
def test_a_thousand_texts(tokenizers, name: str, last):
    tokenizer, refused, rows = tokenizers[name], 0, {s: [] for s in SEPARATORS}
    written = tokenizer.token_bytes()
    tables = {s: step_table(tokenizer, StepRule(s, last=last)) for s in SEPARATORS}
    for separator, steps in _texts(1000):
        rule = StepRule(separator, last=last)
        if any(separator in step or not step.strip() for step in steps):
            with pytest.raises(UserError, match=r"^step \d+ of \d+ (is empty|holds)"):
                tokenize_steps(tokenizer.encode, "12", steps, rule)
            refused += 1
            continue
        try:
            table = tables[separator]
            prompt = "12" + separator
            found = tokenize_steps(tokenizer.encode, prompt, steps, rule, table)
        except UserError as error:
            assert any(cause in str(error) for cause in CAUSES)
            refused += 1
            continue
        text = join_steps(steps, rule)
        joined = found.ids[found.start :]
        assert joined == tokenizer.encode(text)
        assert len(found.ends) == len(steps)
        space = sum(len(written[i]) for i in joined) - len(text.encode())
        lengths = [
            space + len(join_steps(steps[: i + 1], StepRule(separator)).encode())
            for i in range(len(steps))
        ]
        if last == "text":
            lengths[-1] -= len(separator.encode())
        ends = _independent_ends(joined, written, lengths)
        assert [end + found.start for end in ends] == found.ends
        rows[separator].append(found)
    assert 300 < refused < 800
    for separator, of_separator in rows.items():
        assert len(of_separator) > 10
        _check_device(of_separator, tables[separator], tokenizer.eos_ids[0])


def _check_device(rows, table, end_id: int) -> None:
    """The mask of a padded batch is the host's; padding and ends change nothing."""
    width = 100
    ids = np.full((100, width), end_id, np.int32)
    mask, expected = np.zeros(ids.shape, bool), np.zeros(ids.shape, bool)
    for b, row in enumerate(rows):
        left = width - len(row.ids) if b % 2 else 0
        ids[b, left : left + len(row.ids)] = row.ids
        mask[b, left + row.start : left + len(row.ids) + 1] = True  # an end token too
        expected[b, left + np.asarray(row.ends)] = True
    args = (jnp.asarray(ids), jnp.asarray(mask), table)
    np.testing.assert_array_equal(_MASK(*args), expected)


def test_by_hand():
    tokenizer = SymbolTokenizer(["\n", "1", "+", "="])  # ids 2, 3, 4, 5
    rule = StepRule("\n")
    found = tokenize_steps(tokenizer.encode, "1\n", ["1+1", "=1"], rule)
    assert found == ([3, 2, 3, 4, 3, 2, 5, 3, 2], [5, 8], 2)
    found = tokenize_steps(
        tokenizer.encode, [3, 3], ["1+1", "="], StepRule(last="text")
    )
    assert found == ([3, 3, 3, 4, 3, 2, 5], [5, 6], 2)


def test_a_policys_own_blank_lines_end_one_step():
    tokenizer = ByteTokenizer()
    table = step_table(tokenizer, StepRule("\n"))
    ids = tokenizer.encode("\n\n a\n\n \nb\nc")
    assert find_step_ends(ids, 0, table) == [4, 9]
    mask = step_end_mask(jnp.asarray([ids]), jnp.ones((1, len(ids)), bool), table)
    assert np.flatnonzero(mask[0]).tolist() == [4, 9]
    assert split_steps("\n\n a\n\n \nb\nc", StepRule("\n")) == [" a", "b"]
    assert split_steps("a\nb", StepRule("\n", last="text")) == ["a", "b"]


@pytest.mark.parametrize("last", ["separator", "text"])
def test_token_by_token_as_a_search_decodes(last):
    tokenizer = ByteTokenizer()
    table = step_table(tokenizer, StepRule("\n\n", last=last))
    ids = tokenizer.encode("a\n b\n\n\n\n\n c\n\nd")
    read = jax.jit(table.read)
    state, told = jnp.zeros(1, jnp.int32), []
    for place, token in enumerate(ids):
        state, ends = read(state, jnp.asarray([token]))
        told += [place] if ends[0] else []
    assert told == [5, 12]
    assert find_step_ends(ids, 0, table) == told + ([13] if last == "text" else [])


def test_a_step_that_ends_inside_a_token_is_refused():
    tokenizer = SymbolTokenizer(["a", "b", ";", ";b"])
    rule = StepRule(";")
    with pytest.raises(UserError, match="end of step 1 of 2 with what follows"):
        tokenize_steps(tokenizer.encode, "", ["a", "b"], rule)
    apart = StepRule(";", pieces="apart")
    assert tokenize_steps(tokenizer.encode, "", ["a", "b"], apart).ends == [1, 3]


def test_a_separator_inside_a_larger_token(tokenizers):
    tokenizer, rule = tokenizers["like_qwen"], StepRule("\n\n")
    (joined,) = tokenizer.encode(".\n\n")
    found = tokenize_steps(tokenizer.encode, "a", ["x = 1.", "y."], rule)
    assert [found.ids[end] for end in found.ends] == [joined, joined]
    table = step_table(tokenizer, rule)
    assert find_step_ends(found.ids, found.start, table) == found.ends


def test_apart_as_trl_writes_them():
    tokenizer = SymbolTokenizer(["a", "b", "\n", "a\n"])  # 2, 3, 4, 5
    steps = ["a", "b"]
    joined = tokenize_steps(tokenizer.encode, "b", steps, StepRule("\n"))
    assert joined == ([3, 5, 3, 4], [1, 3], 1)
    apart = tokenize_steps(tokenizer.encode, "b", steps, StepRule("\n", pieces="apart"))
    assert apart == ([3, 2, 4, 3, 4], [2, 4], 1)
    table = step_table(tokenizer, StepRule("\n"))
    for found in (joined, apart):  # cut either way, the same rule finds them
        assert find_step_ends(found.ids, found.start, table) == found.ends


def test_a_marker_with_an_id_of_its_own(tmp_path):
    folder = hf_folders.byte_level(tmp_path)
    tokenizer = HfTokenizer(folder)
    (marker,) = tokenizer.encode("<|im_start|>")
    rule = StepRule("<|im_start|>")
    found = tokenize_steps(tokenizer.encode, "the ", ["1 + 1", "lazy dog"], rule)
    assert [found.ids[end] for end in found.ends] == [marker, marker]
    table = step_table(tokenizer, rule)
    assert find_step_ends(found.ids, found.start, table) == found.ends
    _check_device([found], table, tokenizer.eos_ids[0])
    # A marker with nothing before it scores no step.
    assert find_step_ends([marker, marker, *found.ids], 0, table) == [
        end + 2 for end in found.ends
    ]


def test_a_tag_that_the_text_also_holds():
    tokenizer = ByteTokenizer()
    rule = StepRule(" ки", between="\n")
    found = tokenize_steps(tokenizer.encode, "Вопрос ки?", ["1+1", "реки"], rule)
    assert tokenizer.decode(found.ids) == "Вопрос ки?1+1 ки\nреки ки"
    assert find_step_ends(found.ids, found.start, step_table(tokenizer, rule)) == (
        found.ends
    )


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "no steps"),
        (["a", " "], "step 2 of 2 is empty: ' '"),
        (["a\n\nb"], "step 1 of 1 holds the separator"),
        (["a", "b\n"], "step 2 of 2 makes a separator .* with its neighbour: 'b"),
    ],
)
def test_what_is_refused(steps, message):
    with pytest.raises(UserError, match=message):
        tokenize_steps(ByteTokenizer().encode, "q", steps, StepRule("\n\n"))


def test_what_no_rule_or_vocabulary_can_mean():
    with pytest.raises(UserError, match="steps.separator is empty"):
        StepRule("")
    with pytest.raises(UserError, match=r"steps.between='x'"):
        StepRule("\n", between="x")
    with pytest.raises(UserError, match="no step separator"):
        split_steps("abc", StepRule("\n"))
    with pytest.raises(UserError, match="is not in the vocabulary"):
        step_table(SymbolTokenizer(["a"]), StepRule("\n"))


def test_stretches_of_packed_rows_start_anew():
    tokenizer = ByteTokenizer()
    table = step_table(tokenizer, StepRule("\n\n", last="text"))
    row = tokenizer.encode("a\nq\nb\n\nc")
    mask = jnp.asarray([[1, 1, 0, 0, 1, 1, 1, 1]], bool)
    # "a\n" ends at its last token; its newline is no half of the next separator.
    found = step_end_mask(jnp.asarray([row]), mask, table)
    assert np.flatnonzero(found[0]).tolist() == [1, 6, 7]
