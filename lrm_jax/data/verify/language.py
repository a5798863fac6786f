# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Language consistency by character ranges (DeepSeek-R1, 2501.12948, section 2.3.2).

The share of words written in the letters of the asked language. Words of scripts
without spaces (Chinese, Japanese, Thai) are single letters. Formulas, code, tags
and digits are no words. Languages that share a script are not told apart.
"""

import re

from lrm_jax.types import UserError

_LATIN = "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"
_HAN = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_THAI = "\u0e00-\u0e7f"
_LETTERS = {
    **dict.fromkeys(("en", "de", "es", "fr", "it", "pt", "latin"), _LATIN),
    "zh": _HAN,
    "ja": _HAN + _KANA,
    "ko": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "ru": "\u0400-\u052f",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "he": "\u0590-\u05ff",
    "ar": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff",
    "hi": "\u0900-\u097f",
    "th": _THAI,
}
LANGUAGES = tuple(_LETTERS)

_SPANS = (("```", "```"), ("$$", "$$"), ("$", "$"), (r"\[", r"\]"), (r"\(", r"\)"))
_NO_WORDS = re.compile(r"\\[A-Za-z]+|</?[A-Za-z]+>")
_SINGLE = _HAN + _KANA + _THAI
_WORD = re.compile(rf"[{_SINGLE}]|(?:(?![{_SINGLE}])[^\W\d_])+")


def language_score(text: str, language: str) -> float:
    """Return the share of words in the letters of a language; 1 without any word.

    Args:
      text: a completion.
      language: one of `LANGUAGES`.
    """
    check_language(language)
    for opening, closing in _SPANS:
        text = _without_spans(text, opening, closing)
    words = _WORD.findall(_NO_WORDS.sub(" ", text))
    if not words:
        return 1.0
    asked = re.compile(rf"[{_LETTERS[language]}]+")
    return sum(asked.fullmatch(word) is not None for word in words) / len(words)


def _without_spans(text: str, opening: str, closing: str) -> str:
    """Blank out what stands between two marks (linear, unlike a lazy regex)."""
    kept, at = [], 0
    while (start := text.find(opening, at)) >= 0:
        end = text.find(closing, start + len(opening))
        if end < 0:
            break
        kept.append(text[at:start])
        at = end + len(closing)
    return " ".join([*kept, text[at:]])


def check_language(language: str) -> None:
    """Refuse a language whose letters are not known."""
    if language not in _LETTERS:
        raise UserError(
            f"reward.language_code={language!r}: accepted are {', '.join(LANGUAGES)}"
        )
