"""Decides whether a mark ends a sentence, from the words around it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mediaserver.agents.conversing.abbreviations import (
    BEFORE_ORDINAL,
    DANDA_LETTERS,
    GO_ON,
    HESITATIONS,
    LABELLED,
    MONTHS,
    NAMES_WITH_MARKS,
    PREFIXES,
    SHORTENED,
    SPACED,
    STARTERS,
    STREETS,
)
from mediaserver.agents.conversing.scripts import IDEOGRAPHS, STOPS, UNSPACED


_WINDOW: Final = 80
"""Characters before a mark that may decide."""

_LONGEST_WORD: Final = 24
"""Characters of the next word that may decide."""

_PLAIN_WORD: Final = 6
"""Letters of a word that is no abbreviation, unless it is known as one."""

_WORD: Final = re.compile(r"[^\s(\[{\"'“‘«„*_`/—–¡¿]*\Z")
_OPENERS: Final = "\"'“‘«„(\\[{*_`¿¡"
_NEXT: Final = re.compile(
    rf"\s*(?P<openers>[{_OPENERS}]{{0,9}})(?P<word>[^\W_]{{0,{_LONGEST_WORD}}})"
)
_INITIALS: Final = re.compile(r"[^\W\d_]|[^\s.\d]{1,4}(?:\.-?[^\s.\d]{1,4})+")
_THAI_ABBREVIATION: Final = re.compile(r"[\u0e01-\u0e2e.]{1,5}")
_DATE: Final = re.compile(r"\d{4}\. ?\d{1,2}\. ?\d{1,2}\Z")  # as in Korean
_COMPOUND: Final = re.compile(r"\w\w(?:str|pl|nr)\Z")  # Hauptstr., Goethepl.
_GLUED: Final = re.compile(rf"[{IDEOGRAPHS}{UNSPACED}]")
_PART_OF_LINK: Final = re.compile(r"\]\([^()\s]{0,200}")
_QUOTES: Final = "\"'”’»“」』"
_BEFORE_ITEM: Final = ":\n•⁃▪◦"
_DASHES: Final = "—–-"


class Mark(NamedTuple):
    """A mark that may end a sentence.

    Attributes:
        text: a text that begins where the sentence begins.
        at: the place of the mark.
        marked: the place after it and the marks that follow it.
        end: the place after the quotes and brackets that close then.

    """

    text: str
    at: int
    marked: int
    end: int


def ends_sentence(mark: Mark, *, capitals: bool, final: bool) -> bool | None:
    """Return whether a mark ends a sentence; None if more text is needed to know it.

    Args:
        mark: the mark, in all of the text so far.
        capitals: whether sentences begin with capitals here, in scripts that have them.
        final: whether the text is complete.

    """
    text, end = mark.text, mark.end
    if end == len(text):
        return True if final else None
    if text[end] == "\n":
        return True
    marks = text[mark.at : mark.marked]
    if not text[end].isspace():
        link = _PART_OF_LINK.match(text, end - 1)
        if link and link.end() == len(text) and not final:
            return None
        return _ends_without_space(mark, marks)
    following = _Following(text, end, final)
    if set("¿¡") & set(following.openers):
        return True
    if marks[-1] == "…" or (len(marks) > 1 and not marks.strip(".")):
        return _ends_after_ellipsis(mark, following)
    if marks != ".":
        return _ends_after_question(mark, following)
    return _ends_after_full_stop(mark, following, capitals)


class _Following:
    """What follows a mark and a space: the word, as far as it has come."""

    def __init__(self, text: str, end: int, final: bool) -> None:
        found = _NEXT.match(text, end)
        assert found is not None  # it matches the empty text
        self._text, self._final = text, final
        self._end = found.end()
        self.openers = found["openers"]
        self.first = text[found.end("openers") : found.end("openers") + 1]
        """The first character that opens no quotation; nothing if it has not come yet."""
        self.word = found["word"].casefold()
        self.is_complete = final or self._end < len(text) or len(self.word) == _LONGEST_WORD

    @property
    def if_nothing_follows(self) -> bool | None:
        return True if self._final else None

    @property
    def next(self) -> str:
        """The two characters after the word."""
        return self._text[self._end : self._end + 2]

    def is_in(self, table: frozenset[str]) -> bool | None:
        """Whether the word is in a table; None while it may become one of it."""
        if self.is_complete:
            return self.word in table
        return None if any(word.startswith(self.word) for word in table) else False

    def begins_sentence(self) -> bool | None:
        """Whether it is a word that often begins a sentence."""
        if self.is_complete and len(self.word) == 1:
            if self.next[:1] in ("'", "’"):
                return True  # J'ai
            if self.next[:1] == ".":
                return False
        return self.is_in(STARTERS)

    def begins_address_or_sentence(self) -> bool | None:
        """Whether it begins a sentence rather than the next line of an address."""
        begins = self.begins_sentence()
        if begins is not False:
            return begins
        if len(self.next) < 2 and not self._final and not self.next.strip():
            return None
        return self.word.isalpha() and self.next[:1].isspace() and self.next[1:].islower()

    def begins_with_stop(self) -> bool | None:
        """Whether it is a word that begins with a full stop, rather than another full stop."""
        if len(self.next) < 2 and not self._final:
            return None
        return self.next[1:].isalnum()

    def goes_on(self) -> bool | None:
        """Whether it is a digit, or a word that goes on after an abbreviation."""
        if self.first.isdigit():
            return True
        return self.is_in(GO_ON)


def _ends_without_space(mark: Mark, marks: str) -> bool:
    before, after = mark.text[mark.at - 1 : mark.at], mark.text[mark.end]
    if marks[-1] in STOPS:
        in_title = mark.text.rfind("《", 0, mark.at) > mark.text.rfind("》", 0, mark.end)
        return not (in_title or (before.isdigit() and after.isdigit()))
    if not (_GLUED.match(before) and _GLUED.match(after)):
        return False
    if marks == ".":
        return not _THAI_ABBREVIATION.match(before)
    return marks.strip("….") != "" or mark.text[: mark.at] not in HESITATIONS


def _ends_after_ellipsis(mark: Mark, following: _Following) -> bool | None:
    first, one_word = following.first, mark.text.find(" ", 1, mark.at) < 0
    if not first:
        return following.if_nothing_follows
    if first.isupper():
        if first == "I" and not following.is_complete:
            return None
        return not (one_word and following.word == "i")
    if not first.isalpha() or first.islower() or mark.text[: mark.at] in HESITATIONS:
        return False
    goes_on = following.is_in(SHORTENED)
    return goes_on if goes_on is None else not goes_on


def _ends_after_question(mark: Mark, following: _Following) -> bool | None:
    text = mark.text
    closed = any(quote in _QUOTES for quote in text[mark.marked : mark.end])
    begin = max(0, mark.at - _WINDOW)
    opened = text.rfind("«", begin, mark.at) > text.rfind("»", begin, mark.end)
    first = following.first
    named = (
        text[mark.at : mark.marked] == "!"
        and _last_word(text[begin : mark.at]).casefold() in NAMES_WITH_MARKS
    )
    if not first:
        return following.if_nothing_follows if closed or opened or named else True
    if named:
        return following.begins_sentence() if first.isupper() else False
    if first in _DASHES and (closed or opened):
        return False
    if not closed or text[mark.marked - 1] not in "?!؟":
        return True
    return not first.isalpha() or first.isupper()


def _ends_after_full_stop(mark: Mark, following: _Following, capitals: bool) -> bool | None:
    before = mark.text[max(0, mark.at - _WINDOW) : mark.at]
    word = _last_word(before)
    rest = before[: len(before) - len(word)].rstrip()
    if word.isdecimal() and len(word) <= 2 and (not rest or rest[-1] in _BEFORE_ITEM):
        return False  # the number of an item
    if len(word) == 1 and word.isalpha() and not rest:
        return False  # its letter
    known = (
        any(word in table for table in (PREFIXES, SHORTENED, STREETS))
        or _INITIALS.fullmatch(word) is not None
        or _COMPOUND.search(word) is not None
    )
    closed = mark.end > mark.marked
    if word.isalpha() and len(word) >= _PLAIN_WORD and not known and not closed:
        return True
    if not following.first:
        return following.if_nothing_follows
    if following.first == ".":  # . . . or .NET
        return following.begins_with_stop()
    if following.first.islower():
        return not capitals and not known
    previous = _last_word(rest)
    if word.isdecimal():
        return _ends_after_number(before, word, previous, following)
    if previous.rstrip(".").casefold() in LABELLED and len(word) == 1:
        return True  # vitamin C
    if _COMPOUND.search(word) or (word in STREETS and _is_name(previous, rest)):
        return following.begins_address_or_sentence()
    if word in PREFIXES or word in DANDA_LETTERS or _THAI_ABBREVIATION.fullmatch(word):
        return False
    if word in STREETS:
        return following.begins_sentence()
    if word in ("m", "M") and previous in ("a.", "p.", "A.", "P."):
        word = "p.m"
    if (previous, word) in SPACED:
        return False
    if word in SHORTENED:
        goes_on = following.goes_on()
        return goes_on if goes_on is None else not (goes_on or following.first == "و")
    if _INITIALS.fullmatch(word):
        if word == "I" and not previous[:1].isupper():
            return True
        return following.begins_sentence() if following.first.isupper() else False
    return True


def _ends_after_number(before: str, word: str, previous: str, following: _Following) -> bool | None:
    if _DATE.search(before):
        return False
    if following.first.isdigit():  # 2025. 3. 10.
        if not following.is_complete:
            return None
        return not (len(following.word) <= 2 and following.next[:1] == ".")
    if len(word) > 2:
        return True
    goes_on = following.is_in(MONTHS)
    if goes_on is not False:
        return None if goes_on is None else False
    return following.begins_sentence() if previous.casefold() in BEFORE_ORDINAL else True


def _is_name(word: str, rest: str) -> bool:
    """Whether a word, the last of `rest`, may be the name of a street: `Oak`, `7th`."""
    if word[:1].isdigit():
        return True
    return word[:1].isupper() and word.rstrip(".") not in PREFIXES and len(word) < len(rest)


def _last_word(text: str) -> str:
    found = _WORD.search(text)
    return found[0] if found else ""
