# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Whether an answer offers more than the one thing that the gold answer is.

Computer algebra reads the last expression of several and drops what it does not
know (`\neq 42`); such answers are refused here, by their spelling alone.
"""

import re

from lrm_jax.data.verify.equivalence import inside_of, split_top
from lrm_jax.data.verify.extract import boxed_answers, last_boxed
from lrm_jax.data.verify.normal import normalise, parted, spelled
from lrm_jax.data.verify.numbers import equal_numbers, parse_number

_END = r"(?![A-Za-z])"
_MATRIX = re.compile(r"\\begin\{([a-zA-Z]*matrix|array)\}.*?\\end\{\1\}", re.DOTALL)
_MAX_MATRICES = 8
_PARTS = re.compile(  # what may stand between candidates, and never in one
    r"\?|[0-9)}%]\s*\n\s*[^\s\]\\]|\\\\|&|\\ldots|\.\.|\u2026|->|=>|[\u2190-\u21ff]|\u2228|#|@"
    rf"|\\(?:to|[A-Za-z]*arrow|implies|iff|mapsto|lor|vee|mid){_END}"
)
_RELATION = re.compile(
    r"<|>|\\(?:le|ge|ne|not|notin|ll|gg|lesssim|gtrsim|leqslant|geqslant|nless|ngtr"
    rf"|nleq|ngeq|lneq|gneq|lnot|neg|sim|nsim|preceq|succeq|prec|succ){_END}|\u226a|\u226b"
)
_BARE_RELATION = re.compile(rf"\s*\\(?:in|approx|subset|equiv){_END}")
_REGION = re.compile(rf"[\[(]|\\(?:cup|cap|in|infty|mathbb|setminus){_END}")
_CHOOSES = re.compile(r"(?<![A-Za-z])(?:max|min|gcd|lcm)(?![A-Za-z])")
_LABEL = re.compile(r"(?:^|(?<=[\s,;}]))(?:\([A-Za-z]\)|[A-Za-z][.):])(?=\s|[0-9])")
_TWO_NUMBERS = re.compile(
    r"(?<![_^])[0-9]\.?\s+-?[0-9]+(?![0-9]|\s*/)|[0-9]\.\s+\S|[0-9][\"']+\s*[\"'0-9]"
    r"|=\s?-?[0-9.]+\s+[A-Za-z]+\s?="
)
_DIGIT = re.compile("[0-9]")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_POWER_OF_WORD = re.compile(r"(?<=[A-Za-z])\s?\^\s?\{?[0-9]\}?")
_BETWEEN = re.compile(r"(?<=[0-9])[^0-9=;,]+(?=[0-9])")
_WORD = re.compile(r"[A-Za-z]{2,}")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log ln exp sqrt pi mod arcsin arccos arctan".split()
)
_HEDGES = frozenset(
    "not no never except cannot nor neither unless if maybe perhaps possibly guess "
    "least most less more greater fewer versus vs either".split()
)
_DENIED = re.compile("n['\u2019]t(?![A-Za-z])", re.IGNORECASE)
_BASE = re.compile(r"[0-9]\}?_(?!10(?![0-9])|\{10\})\{?[0-9]")
_PAIR = re.compile(r"-?[0-9]+,[0-9]+")


def offers_more(gold: str, answer: str) -> bool:
    """Return whether the answer lists candidates or relations the gold has not."""
    if boxed_answers(answer) > 1 + gold.count(",") + boxed_answers(gold):
        return True
    gold, answer = (
        last_boxed(text) or text if boxed_answers(text) == 1 else text
        for text in (gold, answer)
    )
    gold, answer = spelled(_one_space(gold)), spelled(_one_space(answer))
    if _as_number(gold, answer):
        return False
    return (
        _marked(gold, answer)
        or _hedged(gold, answer)
        or _related(gold, answer)
        or _listed(gold, answer)
    )


def _one_space(text: str) -> str:
    """Fold white space, but for the ends of lines (the patterns stay linear)."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _as_number(gold: str, answer: str) -> bool:
    """Whether the answer is the gold number, its digits parted or a decimal comma."""
    number = parse_number(normalise(gold).text)
    if number is None:
        return False
    joined = re.sub(r"(?<=[0-9])\s+(?=[0-9]{3}(?![0-9]))", "", answer)
    spellings = [joined]
    if _PAIR.fullmatch(answer):
        spellings.append(answer.replace(",", "."))
    read = (parse_number(text) for text in spellings)
    return any(one is not None and equal_numbers(number, one) for one in read)


def _marked(gold: str, answer: str) -> bool:
    """Whether marks, labels or words part several candidates."""
    matrix_allowed = gold[:1] in ("(", "[") or "\\begin" in gold
    if matrix_allowed and answer.count("\\begin") <= _MAX_MATRICES:
        answer = _MATRIX.sub("M", answer)
    for pattern in (_PARTS, _CHOOSES, _TWO_NUMBERS, _BASE):
        if pattern.search(answer) and not pattern.search(gold):
            return True
    if len(_LABEL.findall(answer)) > max(1, len(_LABEL.findall(gold))):
        return True
    if answer.count("|") % 2 > gold.count("|") % 2:
        return True
    return _words_between(parted(answer), gold) and not _words_between(gold, "")


def _words_between(text: str, variables: str) -> bool:
    """Whether words that are no product of the variables part two numbers."""
    text = _POWER_OF_WORD.sub("", _COMMAND.sub(" ", text))
    words = {word for run in _BETWEEN.findall(text) for word in _WORD.findall(run)}
    return any(not set(word) <= set(variables) for word in words - _FUNCTIONS)


def _hedged(gold: str, answer: str) -> bool:
    if _DENIED.search(answer):
        return True
    words = set(_WORD.findall(_COMMAND.sub(" ", answer).lower()))
    return not _HEDGES.isdisjoint(words - set(_WORD.findall(gold.lower())))


def _related(gold: str, answer: str) -> bool:
    """Whether the answer has a relation that the gold cannot stand for."""
    if _BARE_RELATION.match(answer) and not _BARE_RELATION.match(gold):
        return "\\approx" not in answer or answer.count("\\approx") > 1
    if _is_approximate_other(answer):
        return True
    found = len(_RELATION.findall(answer))
    if _is_region(gold):
        return found > 2 * _entries(gold)
    return found > 0 or ("\\cup" in answer and "\\{" not in gold)


def _is_region(text: str) -> bool:
    if _RELATION.search(text) or _REGION.search(text):
        return True
    return not _DIGIT.search(text) and bool(_WORD.search(_COMMAND.sub("", text)))


def _is_approximate_other(text: str) -> bool:
    """Whether two numbers are called nearly the same and round to other ones."""
    read = [parse_number(part.strip()) for part in re.split(r"\\approx|\u2248|=", text)]
    numbers = [number for number in read if number is not None]
    for number in numbers[:-1]:
        if equal_numbers(number, numbers[-1]):
            continue
        places = numbers[-1].places
        if abs(number.value - numbers[-1].value) * 2 * 10**places > 1:
            return True
    return False


def _entries(text: str) -> int:
    r"""How many entries a list, set or union has; `\pm` and `|x|` make two of one."""
    outer = split_top(parted(text), (",", ";"))
    inner = inside_of(parted(text))
    count = max(len(outer), len(inner[2]) if inner and len(outer) == 1 else 1)
    twice = text.count(r"\pm") + (bool(_RELATION.search(text)) and "|" in text)
    return count * 2 ** min(4, twice) * (1 + text.count(r"\cup"))


def _listed(gold: str, answer: str) -> bool:
    """Whether the answer has more entries than the gold, or repeats one."""
    if "\\begin" in gold:
        return False
    text = parted(answer)
    outer = split_top(text, (",", ";"))
    inner = inside_of(text)
    entries = inner[2] if inner and len(outer) == 1 else outer
    if len(outer) == 1 and len(entries) == 2 and _is_interval(gold, text):
        return False
    gold_outer = split_top(parted(gold), (",", ";"))
    gold_inner = inside_of(parted(gold))
    tuples = gold_inner and gold_inner[0] in ("(", "[") and len(gold_outer) == 1
    if tuples and len(outer) > 1 and any(inside_of(part.strip()) for part in outer):
        return True
    plain = ["".join(part.split()) for part in entries]
    repeated = len(set(plain)) < len(plain)
    own = gold_inner[2] if gold_inner and len(gold_outer) == 1 else gold_outer
    if repeated and len({"".join(part.split()) for part in own}) == len(own):
        return True
    return len(entries) > _entries(gold)


def _is_interval(gold: str, text: str) -> bool:
    """Whether the pair may be an interval that the gold writes as an inequality."""
    return text[:1] in ("(", "[") and ("\\infty" in text or _is_region(gold))
