# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
r"""One way to write an answer: LaTeX and Unicode spellings folded together.

`\dfrac12 \text{ cm}`, `\frac{1}{2}` and `$\frac12$` end up alike, the unit apart.
Everything is linear in the length of the text, and nothing is evaluated.
"""

import re
import unicodedata
from typing import NamedTuple

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2013\u2012\ufe63\uff0d", "-"),
        **{"\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u00f7": "/", "\u2044": "/"},
        **{"\u03c0": r"\pi ", "\u221e": r"\infty ", "\u00b0": r"^\circ "},
        **{"\u222a": r"\cup ", "\u2229": r"\cap ", "\u2208": r"\in "},
        **{"\u2264": r"\le ", "\u2265": r"\ge ", "\u2260": r"\ne ", "\u00b1": r"\pm "},
        **{"\u2205": r"\emptyset ", "\u211d": r"\mathbb{R}"},
        **{"\u00b2": "^2", "\u00b3": "^3", "\u00a0": " ", "\u202f": " ", "\u2009": " "},
        **{"\u2018": "'", "\u2019": "'", "\uff0c": ",", "\uff08": "(", "\uff09": ")"},
    }
)
_DROPPED = re.compile(
    r"(?<!\\)\\(?:left|right|big|Big|bigg|Bigg|bigl|bigr|displaystyle|textstyle|mathstrut"
    r"|limits|,|!|;|:|>| |quad(?![A-Za-z])|qquad)(?![A-Za-z])|(?<!\\)\\[,!;:> ]|~"
)
_RENAMED = {
    **dict.fromkeys((r"\dfrac", r"\tfrac", r"\cfrac"), r"\frac"),
    **{r"\leq": r"\le", r"\geq": r"\ge", r"\neq": r"\ne", r"\lbrace": r"\{"},
    **{
        r"\rbrace": r"\}",
        r"\lparen": "(",
        r"\rparen": ")",
        r"\varnothing": r"\emptyset",
    },
    **{r"\cdots": r"\ldots", r"\dots": r"\ldots", r"\div": "/", r"\ast": "*"},
    **{r"\lbrack": "[", r"\rbrack": "]", r"\colon": ":", r"\degree": r"^\circ"},
    **{r"\Reals": r"\mathbb{R}", r"\R": r"\mathbb{R}"},
    **{r"\lt": "<", r"\gt": ">"},
}
_COMMAND = re.compile(r"\\[A-Za-z]+")
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|texttt|mathrm|mathbf|mbox|operatorname)\s*"
    r"\{([^{}]*)\}"
)
_ASCII_RELATIONS = (("<=", r"\le "), (">=", r"\ge "), ("!=", r"\ne "))
_WRAPPERS = ((r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))
_LOOSE_COMMA = re.compile(r"(?<=[0-9]),\s+(?=[0-9])")
_AND = re.compile(r",?\s+(?:and|or)\s+|(?<=[)\]])\s*(?:and|or)\s*(?=[(\[])")
_BEFORE_POWER = re.compile(r"\s+\^")
_NEGATIVE_SPACE = re.compile(r"\\!\s*")
# A space between digits, or after a command and before a letter, parts them.
_SPACE = re.compile(r"(?:(?<=[0-9])|(\\[A-Za-z]+))\s+(?=([0-9])|[A-Za-z])|\s+")
_SHORT_FRAC = re.compile(r"\\frac ?(?:([0-9a-zA-Z])|(\{[^{}]*\})) ?([0-9a-zA-Z{])")
_SHORT_SQRT = re.compile(r"\\sqrt ?([0-9a-zA-Z])")
_ONE_IN_BRACES = re.compile(r"([_^])\{([0-9A-Za-z])\}")
_UNIT = re.compile(
    r"(?P<value>.*[0-9})\]])\s*(?P<unit>(?:(?:square|cubic|sq|cu)\.? )?"
    r"[A-Za-z]{2,}(?:[ /^][A-Za-z0-9.]+)*\.?|[mgsLhkV](?:\^[23])?|\\?%|\^\\circ ?[CF]?"
    r"|\^\{\\circ\})",
    re.DOTALL,
)
_OTHER_NUMBER = re.compile(r"(?<!per) [0-9]")  # "40 vs 42" is no 40 with a unit
_MATH_WORDS = re.compile(r"^(?:pi|sqrt|sin|cos|tan|log|ln|exp|and|or|mod|base)\b")
_MONEY = re.compile("[\u20ac\u00a3]\\s*(?=[-0-9.])")


class Normal(NamedTuple):
    """An answer in its one spelling.

    Attributes:
      text: without spaces.
      unit: what stood behind a value, folded; "" for none.
    """

    text: str
    unit: str


def has_foreign_digits(text: str) -> bool:
    """Return whether there are decimal digits of another script than ASCII."""
    return not text.isascii() and any(
        unicodedata.category(c) == "Nd" for c in text if c > "\x7f"
    )


def spelled(text: str) -> str:
    """Return a text with its signs, commands and wrappers spelled one way."""
    text = text.translate(_SIGNS).replace(r"\$", "").replace("$", "")
    text = _unwrap(text.strip())
    text = _DROPPED.sub(" ", _NEGATIVE_SPACE.sub("", text).replace("{,}", ","))
    text = _COMMAND.sub(lambda m: _RENAMED.get(m[0], m[0]), text)
    for sign, command in _ASCII_RELATIONS:
        text = text.replace(sign, command)
    text = _MONEY.sub("", _unwrap(text))
    return _TEXT.sub(lambda m: f" {m[1]} ", text).replace(r"\%", "%")


def parted(text: str) -> str:
    """Return a text with `;` for every comma or word that parts its entries."""
    # A comma with a space parts entries, one without may part thousands.
    text = _LOOSE_COMMA.sub(";", text)
    if any(c.isdigit() or c in "\\=" for c in text):
        text = _AND.sub(";", text)
    return text


def normalise(text: str) -> Normal:
    """Return the one spelling of an answer."""
    text = _BEFORE_POWER.sub("^", spelled(text))
    text = parted(text.lstrip(" ,;:\n\t").rstrip(" .,;:\n\t"))
    text, unit = _split_unit(text)
    text = _SHORT_SQRT.sub(r"\\sqrt{\1}", text)
    for _ in range(2):  # the numerator, then what its denominator hid
        text = _SHORT_FRAC.sub(_full_frac, text)
    text = _ONE_IN_BRACES.sub(r"\1\2", text)
    return Normal(_SPACE.sub(_needed_space, text), unit)


def _needed_space(match: re.Match[str]) -> str:
    if match[1]:
        return match[1] + ("" if match[2] else " ")
    return " " if match[2] else ""


def _full_frac(match: re.Match[str]) -> str:
    top = match[1] if match[1] else match[2][1:-1]
    bottom = "{" if match[3] == "{" else "{" + match[3] + "}"
    return rf"\frac{{{top}}}{bottom}"


def _unwrap(text: str) -> str:
    """Take off what only surrounds an answer."""
    changed = True
    while changed:
        changed = False
        for opening, closing in _WRAPPERS:
            inner = text[len(opening) : len(text) - len(closing)]
            if (
                len(text) > len(opening) + len(closing)
                and text.startswith(opening)
                and text.endswith(closing)
                and opening not in inner
                and closing not in inner
            ):
                text, changed = inner.strip(), True
        stripped = text.rstrip(" .\n") if text.endswith((r"\).", r"\].")) else text
        if stripped != text:
            text, changed = stripped, True
    return text


def _split_unit(text: str) -> tuple[str, str]:
    """Take a unit off a value; words of mathematics are none."""
    if len(text) > 400:
        return text, ""
    match = _UNIT.fullmatch(text)
    if not match or _MATH_WORDS.match(match["unit"].lstrip("\\")):
        return text, ""
    if _OTHER_NUMBER.search(match["unit"]):
        return text, ""
    if _in_command(match["value"], match["unit"]):
        return text, ""
    unit = match["unit"].replace("\\", "").replace("{", "").replace("}", "")
    if unit == "%":
        return text, ""
    return match["value"].strip(), _fold_unit(unit)


def _in_command(value: str, unit: str) -> bool:
    """Whether the letters are factors of a product such as 2x, not a unit."""
    one_letter = len(unit) == 1
    return one_letter and not value[-1:].isdigit()


_SAME_UNIT = {
    **dict.fromkeys(("dollar", "usd", "buck"), "dollar"),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), "cm"),
    **dict.fromkeys(("m", "meter", "metre"), "m"),
    **dict.fromkeys(("km", "kilometer", "kilometre"), "km"),
    **dict.fromkeys(("circ", "degree", "deg", "circc", "circf"), "degree"),
    **dict.fromkeys(("in", "inch", "inche"), "inch"),
    **dict.fromkeys(("ft", "foot", "feet"), "foot"),
    **dict.fromkeys(("h", "hr", "hour"), "hour"),
    **dict.fromkeys(("min", "minute"), "minute"),
    **dict.fromkeys(("sec", "second"), "second"),
    **dict.fromkeys(("kg", "kilogram"), "kg"),
    **dict.fromkeys(("lb", "pound"), "pound"),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), "mm"),
    **dict.fromkeys(("g", "gram"), "g"),
    **dict.fromkeys(("mg", "milligram"), "mg"),
    **dict.fromkeys(("l", "liter", "litre"), "l"),
    **dict.fromkeys(("ml", "milliliter", "millilitre"), "ml"),
    **dict.fromkeys(("oz", "ounce"), "ounce"),
    **dict.fromkeys(("mi", "mile"), "mile"),
    **dict.fromkeys(("yd", "yard"), "yard"),
    **dict.fromkeys(("euro", "eur"), "euro"),
    **{unit: unit for unit in ("cent", "day", "week", "month", "year", "gallon")},
}


def is_unit(word: str) -> bool:
    """Whether a word in a sentence names a unit that is known."""
    return word != "in" and _fold_unit(word).rstrip("23") in _SAME_UNIT.values()


def _fold_unit(unit: str) -> str:
    """Return a unit without number, case and exponents' marks."""
    folded = unit.lower().strip(" .").replace("^", "")
    folded = re.sub(r"^(?:square|sq)\.? (.*)", r"\g<1>2", folded)
    folded = re.sub(r"^(?:cubic|cu)\.? (.*)", r"\g<1>3", folded)
    power = folded[-1:] if folded[-1:] in ("2", "3") else ""
    stem = folded.removesuffix(power) if power else folded
    if len(stem) > 2 and stem.endswith("s"):
        stem = stem[:-1]
    return _SAME_UNIT.get(stem, stem) + power
