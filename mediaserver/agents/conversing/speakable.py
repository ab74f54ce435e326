"""Takes the marks out of a text that are written but not spoken."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final


PICTURES: Final = (
    "\U0001f000-\U0001faff\U000e0020-\U000e007f\u2600-\u266c\u2670-\u27bf\u2b00-\u2bff\u2300-\u23ff"
    "\u2190-\u21ff\ufe0e\ufe0f\u20e3"
)
"""Emoji and arrows, as the inside of a regular expression's set."""

LINK_TARGET: Final = (
    r"\((?:[^()\s]|\([^()\s]{0,200}\)){0,2000}"
    r"""(?:\s"[^"]{0,200}")?\)"""
)
"""Where a link of Markdown leads: what follows its text in brackets."""

_LINE_MARK: Final = re.compile(
    r"""(?: \#{1,6}(?=\s) | >+(?![\d=]) | [-*+•‣]\s\[[ xX]\](?=\s) | [-*+•‣](?=\s)
    | (?:\s?[-*_=|:]){3,}\Z )+ \s*""",
    re.VERBOSE,
)
# One of these at each place; what stands first wins.
_MARK: Final = re.compile(
    rf"""(?<!`)(?P<ticks>`{{1,2}})(?!`) (?P<code>[^`]{{1,500}}) (?P=ticks)(?!`)
    | \\(?P<escaped>[^\w\s])
    | (?P<gone>!?\[(?=[^\[\]]{{0,500}}\]{LINK_TARGET}) | \]{LINK_TARGET} | \[\^\w{{1,20}}\]
        | (?<!\w)_+ | _+(?!\w) | `+ | ~~+)
    | (?P<opens>(?<!\w)\[) | (?P<closes>\])
    | <?https?://(?P<address>[^\s<>]+)>?
    | (?P<tag></?(?:a|b|br|break|code|div|em|emphasis|i|img|li|ol|p|pre|prosody|say-as|speak|span
        |strong|sub|sup|u|ul)(?:\s[\w:-]{{1,30}}=[^<>]{{0,200}})?\s?/?>)
    | (?P<stars>\*+)
    | (?P<blank>[{PICTURES}|]+\u200d?)""",
    re.VERBOSE | re.IGNORECASE,
)
_OPERAND_BEFORE: Final = re.compile(r"(?:(?<![0-9A-Za-z])[0-9A-Za-z]{1,12}|\))\Z")
_OPERAND_AFTER: Final = re.compile(r"[0-9A-Za-z]{1,12}|\(")
_WIDEST_OPERAND: Final = 12
_SPACE: Final = re.compile(r"\s+")
_SPACE_BEFORE_MARK: Final = re.compile(r"(?<=\w)\s(?=[.,!?;:…]+(?:\s|\Z))")


def speakable(text: str, *, line_begins: bool = True, tags: Sequence[str] = ()) -> str:
    """Return a line of text without the marks that are written but not spoken.

    Args:
        text: Markdown or plain text, without blocks of code.
        line_begins: whether it is the beginning of a line, where headings and bullets stand.
        tags: marks that stay, because they tell the voice how to speak.

    """
    if line_begins and (mark := _LINE_MARK.match(text)):
        text = text[mark.end() :]
    found = list(_MARK.finditer(text))
    kept = _stars_that_are_said(text, found) | _brackets_that_are_said(found)
    kept |= _parts_of_tags(text, found, tags)
    parts, place = [], 0
    for index, mark in enumerate(found):
        parts.append(text[place : mark.start()])
        parts.append(mark[0] if index in kept else _instead_of(mark))
        place = mark.end()
    parts.append(text[place:])
    return _SPACE_BEFORE_MARK.sub("", _SPACE.sub(" ", _joined(parts))).strip()


def _joined(parts: Iterable[str]) -> str:
    """Put parts together, with a space between two numbers: a mark was between them."""
    joined: list[str] = []
    for part in filter(None, parts):
        if joined and joined[-1][-1].isdigit() and part[0].isdigit():
            joined.append(" ")
        joined.append(part)
    return "".join(joined)


def _instead_of(mark: re.Match[str]) -> str:
    """Return what is said in place of a mark."""
    said = mark["code"] or mark["escaped"] or mark["address"]
    if said is not None:
        return said
    return " " if mark["tag"] or mark["blank"] else ""


def _parts_of_tags(text: str, marks: Sequence[re.Match[str]], tags: Sequence[str]) -> set[int]:
    """Return the marks that begin within a tag."""
    spans = [found.span() for tag in tags for found in re.finditer(re.escape(tag), text)]
    return {
        index
        for index, mark in enumerate(marks)
        if any(start <= mark.start() < end for start, end in spans)
    }


def _brackets_that_are_said(marks: Sequence[re.Match[str]]) -> set[int]:
    """Return the closing brackets whose opening one stays, as in `a[0]`."""
    kept, depth = set(), 0
    for index, mark in enumerate(marks):
        if mark["opens"]:
            depth += 1
        elif mark["closes"]:
            if depth:
                depth -= 1
            else:
                kept.add(index)
    return kept


def _stars_that_are_said(text: str, marks: Sequence[re.Match[str]]) -> set[int]:
    """Return which stars are signs or keys, as in `2**8` and `*67`, and mark no emphasis."""
    kept: set[int] = set()
    opened: defaultdict[int, list[int]] = defaultdict(list)
    for index, mark in enumerate(marks):
        if not mark["stars"]:
            continue
        before, after = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]
        may_open = bool(after) and not after.isspace()
        may_close = bool(before) and not before.isspace()
        if _is_between_operands(text, mark) or not (may_open or may_close):
            kept.add(index)
        elif may_close and opened[len(mark[0])]:
            kept.discard(opened[len(mark[0])].pop())
        elif may_open:
            opened[len(mark[0])].append(index)
            if _stays_alone(mark[0], before, after):
                kept.add(index)  # unless another one closes it
        elif len(mark[0]) == 1 and before.isdigit():
            kept.add(index)  # a 5* hotel
    return kept


def _stays_alone(stars: str, before: str, after: str) -> bool:
    """Whether stars that nothing closes are a key or part of a word: `*67`, `foo*bar`."""
    if before.isalnum() and after.isalnum():
        return len(stars) == 1 or (before + after).isascii()
    return len(stars) == 1 and not after.isalpha()


def _is_between_operands(text: str, mark: re.Match[str]) -> bool:
    """Whether stars stand between numbers or single letters: `3*4`, `a**b`."""
    start, end = mark.span()
    before = _OPERAND_BEFORE.search(text[max(0, start - _WIDEST_OPERAND - 1) : start])
    after = _OPERAND_AFTER.match(text, end)
    if before is None or after is None:
        return False
    return any(
        len(operand) == 1 or any(map(str.isdigit, operand)) for operand in (before[0], after[0])
    )
