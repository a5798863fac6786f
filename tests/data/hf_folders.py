# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small Hugging Face folders: byte-level BPE, SentencePiece-like, WordPiece, words."""

import json
from pathlib import Path
from typing import Any

SPECIAL = ["<|end|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
TEXT = [
    "the quick brown fox jumps over the lazy dog 0123456789",
    "Ünïcode: 数学 🙂 and some more words, with punctuation.",
    "def f(x):\n    return x + 1\n",
] * 3


def byte_level(folder: Path, **config: Any) -> Path:
    """A folder like Qwen's: byte-level BPE, two tags that are no special tokens."""
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        trainers,
    )

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tags = [AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")]
    tokenizer.add_tokens(tags)
    named = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    return write(folder, tokenizer, named | config)


def sentence_piece(folder: Path, **config: Any) -> Path:
    """A folder like Llama 2's: byte fallback, a begin token, no padding."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [chr(c) for c in range(33, 127)] + ["\u2581", "é"]
    merges = [("\u2581", "a"), ("a", "b"), ("\u2581a", "b")]
    pieces += ["".join(pair) for pair in merges]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    model = models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    named = {
        name: {"__type": "AddedToken", "content": text, "special": True}
        for name, text in (("bos_token", "<s>"), ("eos_token", "</s>"))
    }
    return write(folder, tokenizer, named | config)


def words(folder: Path, decoder: Any = None) -> Path:
    """A folder of five whole words; without a decoder unless one is given."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocab = {"[UNK]": 0, "one": 1, "two": 2, "##s": 3, "[SEP]": 4}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if decoder is not None:
        tokenizer.decoder = decoder
    return write(folder, tokenizer, {"eos_token": "[SEP]"})


def write(folder: Path, tokenizer: Any, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {name: value for name, value in config.items() if value is not None}
    edit(folder, "tokenizer_config.json", **config)
    return folder


def edit(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | values))
