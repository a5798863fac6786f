# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tokenizers in the Hugging Face folder format, through `tokenizers` (extra `hf`).

Of the folder: `tokenizer.json`; end and padding from `tokenizer_config.json`,
`special_tokens_map.json`, `generation_config.json` and `config.json`, whichever say.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from lrm_jax.types import UserError

SPACE_MARK = "\u2581"  # what SentencePiece writes for a space
_HEX_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class HfTokenizer:
    """The tokenizer of a Hugging Face folder.

    Attributes:
      folder: where it came from.
      vocab_size: one more than the largest id, added tokens included.
      eos_ids: every id that ends a completion: the tokenizer's own end first, then
        those of generation and of the model.
      pad_id: the padding that the folder names, else the first end.
      bos_ids: what the folder's post-processor puts before a raw text.
      special_tokens: `{"bos_token": text, ...}`, as chat templates want them.
    """

    def __init__(self, folder: str | Path) -> None:
        """Read a folder.

        Raises:
          UserError: the extra is missing, a file is missing or damaged, no end token
            is named, or one is named that the vocabulary does not have.
        """
        self.folder = Path(folder)
        self._tokenizer = _read_tokenizer(self.folder / "tokenizer.json")
        vocab = self._tokenizer.get_vocab(with_added_tokens=True)
        if not vocab:
            raise UserError(f"{self.folder / 'tokenizer.json'}: an empty vocabulary")
        self.vocab_size = max(vocab.values()) + 1
        named = read_json(self.folder / "special_tokens_map.json")
        named |= read_json(self.folder / "tokenizer_config.json")
        generation = read_json(self.folder / "generation_config.json")
        model = read_json(self.folder / "config.json")
        self.special_tokens = {
            name: text
            for name, value in named.items()
            if name.endswith("_token") and (text := _token_text(value)) is not None
        }
        self.eos_ids = self._end_ids(generation, model)
        self.pad_id = self._pad_id(generation, model)
        self.bos_ids = self._prefix()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens written in it are read as such."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, without special tokens and padding rows."""
        known = [int(i) for i in ids if 0 <= i < self.vocab_size]
        return self._tokenizer.decode(known, skip_special_tokens=True)

    def token_bytes(self) -> list[bytes]:
        """Return what each id adds to a text in UTF-8; special tokens add nothing."""
        return list(self._bytes)

    @cached_property
    def _bytes(self) -> list[bytes]:
        whole = json.loads(self._tokenizer.to_str())
        to_bytes = _piece_to_bytes(whole.get("decoder"), self.folder)
        found = [b""] * self.vocab_size
        vocab = self._tokenizer.get_vocab(with_added_tokens=False)
        for piece, index in vocab.items():
            found[index] = to_bytes(piece)
        for token in whole.get("added_tokens") or []:
            text = b"" if token["special"] else token["content"].encode()
            found[token["id"]] = text
        return found

    def _end_ids(
        self, generation: Mapping[str, Any], model: Mapping[str, Any]
    ) -> tuple[int, ...]:
        found: list[int] = []
        if "eos_token" in self.special_tokens:
            found.append(self._id_of("eos_token"))
        for name, source in (("generation_config", generation), ("config", model)):
            value = source.get("eos_token_id")
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    found.append(self._checked_id(one, f"{name}.json: eos_token_id"))
        if not found:
            raise UserError(
                f"{self.folder}: no end token; name one as eos_token in "
                "tokenizer_config.json or as eos_token_id in generation_config.json"
            )
        return tuple(dict.fromkeys(found))

    def _pad_id(self, generation: Mapping[str, Any], model: Mapping[str, Any]) -> int:
        if "pad_token" in self.special_tokens:
            return self._id_of("pad_token")
        for name, source in (("generation_config", generation), ("config", model)):
            value = source.get("pad_token_id")
            if isinstance(value, int) and value >= 0:  # some files say -1 for none
                return self._checked_id(value, f"{name}.json: pad_token_id")
        return self.eos_ids[0]

    def _prefix(self) -> tuple[int, ...]:
        """Ids that the post-processor puts before the ids of a text."""
        plain = self.encode("a")
        whole = self._tokenizer.encode("a", add_special_tokens=True).ids
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return tuple(whole[:start])
        return ()

    def _id_of(self, name: str) -> int:
        text = self.special_tokens[name]
        found = self._tokenizer.token_to_id(text)
        if found is None:
            raise UserError(
                f"{self.folder / 'tokenizer_config.json'}: {name}={text!r} is not in "
                "the vocabulary of tokenizer.json"
            )
        return found

    def _checked_id(self, value: Any, where: str) -> int:
        if type(value) is not int or not 0 <= value < self.vocab_size:
            raise UserError(
                f"{self.folder}/{where}={value!r}: expected an id below "
                f"{self.vocab_size}, the size of the vocabulary"
            )
        return value


def need_extra(module: str, error: ImportError) -> UserError:
    """Return the error for a package that the extra `hf` brings."""
    return UserError(
        f"{module} is not installed ({error}); install the extra: "
        "pip install 'lrm-jax[hf]'"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file, {} where there is none.

    Raises:
      UserError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected an object, got {type(data).__name__}")
    return data


def _read_tokenizer(path: Path) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise need_extra("tokenizers", error) from error
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; a folder in the Hugging Face format has one (save "
            "an older one again with transformers' PreTrainedTokenizerFast)"
        )
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        text = " ".join(str(error).split())
        raise UserError(f"{path}: not a tokenizer: {text}") from error


def _token_text(value: Any) -> str | None:
    """Text of a token that a config names: a string, or an object with `content`."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _piece_to_bytes(decoder: Any, folder: Path) -> Callable[[str], bytes]:
    """Return how a vocabulary's pieces are written, by the kinds of its decoder.

    Raises:
      UserError: a decoder of an unknown kind.
    """
    steps = (decoder or {}).get("decoders", [decoder] if decoder else [])
    kinds = {step["type"] for step in steps}
    if "ByteLevel" in kinds:
        return _byte_level
    if kinds & {"ByteFallback", "Metaspace"}:
        return _sentence_piece
    if "WordPiece" in kinds:
        prefix = next(s for s in steps if s["type"] == "WordPiece")["prefix"]
        joined = lambda piece: piece.removeprefix(prefix).encode()
        return lambda piece: (
            joined(piece) if piece.startswith(prefix) else b" " + piece.encode()
        )
    if not kinds or kinds == {"Fuse"}:
        # Without a decoder pieces are joined by spaces; fused, by nothing.
        space = b"" if kinds else b" "
        return lambda piece: space + piece.encode()
    raise UserError(
        f"{folder / 'tokenizer.json'}: decoder {'+'.join(sorted(kinds))} is unknown; "
        "known are ByteLevel, ByteFallback, Metaspace, WordPiece, Fuse and none"
    )


def gpt2_byte_map() -> dict[str, int]:
    """Return the character that stands for each byte in byte-level vocabularies.

    Printable bytes stand for themselves; the others, in order, are U+0100 and on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    shown = {chr(byte): byte for byte in printable}
    return shown | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = gpt2_byte_map()


def _byte_level(piece: str) -> bytes:
    if all(char in _BYTE_OF for char in piece):
        return bytes(_BYTE_OF[char] for char in piece)
    return piece.encode()  # as the library: not written in the map


def _sentence_piece(piece: str) -> bytes:
    byte = _HEX_BYTE.fullmatch(piece)
    if byte:
        return bytes([int(byte[1], 16)])
    return piece.replace(SPACE_MARK, " ").encode()
