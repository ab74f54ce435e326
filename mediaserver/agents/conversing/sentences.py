"""Cuts text into sentences to speak while a model is still writing it."""

from __future__ import annotations

import re
from typing import Final


_LONGEST: Final = 300
"""Highest number of characters in a piece: about twenty seconds of speech."""

_FIRST: Final = 60
"""Characters after which the first sentence is cut at a comma: four seconds of speech."""

_SHORTEST: Final = 20  # a second and a half: the next piece is synthesised meanwhile

_ENDS: Final = ".!?…؟۔।"  # noqa: RUF001
# No space follows these.
_WIDE_ENDS: Final = "。！？｡"  # noqa: RUF001
_CANDIDATE: Final = re.compile(
    rf"""(?P<newline>\n)
    | (?P<end>[{_ENDS}{_WIDE_ENDS}]+) (?P<close>["'”’»)\]}}*_`~」』）】]*)
    | (?P<clause>[,;:](?=\s) | [，、；：] | —(?=.) | \s(?:--?|–)(?=\s))""",  # noqa: RUF001
    re.VERBOSE | re.DOTALL,
)
_FENCE: Final = re.compile(r"(`{3,}|~{3,})[^`\n]*(\n|\Z)?")
_PART_OF_FENCE: Final = frozenset({"`", "``", "~", "~~"})

# Abbreviations that never end a sentence,
_NEVER_LAST: Final = re.compile(
    r"""mrs?|ms|dr|prof|st|mt|messrs|mme|mlle|gen|sen|gov|capt|lt|sgt|rev|hon|vs|cf|viz|approx
    |e\.?g|i\.?e|z\.b|d\.h|bzw|ca""",
    re.IGNORECASE | re.VERBOSE,
)
# that end one if a capital follows,
_LAST_BEFORE_CAPITAL: Final = re.compile(
    r"etc|inc|ltd|co|corp|bros|jr|sr|dept|a\.m|p\.m|ph\.d|jan|feb|apr|aug|sept|oct|nov|dec|usw",
    re.IGNORECASE,
)
# and that end one unless a digit follows; some of them are words as well.
_NOT_LAST_BEFORE_DIGIT: Final = re.compile(
    r"no|nos|nr|fig|pp?|vol|ch|sec|art|ext|tel|est|mar|jun|jul|sep|sat|sun", re.IGNORECASE
)
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_LAST_WORD: Final = re.compile(r"[^\s(\[{\"'“‘«*_/—-]*$")  # noqa: RUF001

_LINE_MARK: Final = re.compile(
    r"""(?: \#{1,6}(?=\s) | >+ | [-*+•‣](?=\s) | (?:\s*[-*_=|:]){3,}$ )+ \s*""", re.VERBOSE
)
_ESCAPE: Final = re.compile(r"\\([^\w\s])")
_LINK_TARGET: Final = re.compile(r"""(?<=\])\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s"[^"]*")?\)""")
_ADDRESS: Final = re.compile(r"<?https?://([^\s<>]+)>?")
_TAG: Final = re.compile(
    r"</?(?:a|b|br|code|div|em|i|li|ol|p|pre|speak|span|strong|sub|sup|u|ul)\s*/?>", re.IGNORECASE
)
_STARS: Final = re.compile(r"(?<!\S)(?P<key>\*)(?=\s|\d|$)|\*+")
_UNDERSCORES: Final = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_MARKS: Final = re.compile(r"!?\[|\]|`+|~~+")
_PICTURES: Final = re.compile(
    r"[\U0001f000-\U0001faff\U000e0020-\U000e007f\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff"
    r"\u2190-\u21ff\ufe0e\ufe0f\u20e3|]+\u200d?"
)
_SPACE: Final = re.compile(r"\s+")
_SPACE_BEFORE_MARK: Final = re.compile(r"(?<=\w)\s+(?=[.,!?;:…]+(?:\s|$))")
_LAST_SPACE: Final = re.compile(r"(.*\S)\s", re.DOTALL)


class Sentences:
    """Cuts a text that comes in pieces of any length into pieces to be spoken.

    A piece is a sentence or a line. A long first sentence is cut at a comma, so that the caller
    hears something sooner. The pieces do not depend on how the input was cut.

    What a voice cannot say is removed: marks of emphasis, headings, bullets and tables, the targets
    of links, emoji, and whole blocks of code. No other word is lost.

    ``"".join`` of all pieces is the text as it is spoken, for the conversation. White space becomes
    one space, at the end of the piece before it.

    Args:
        first: characters after which the first sentence is cut at a comma; None: never.
        longest: the highest number of characters in a piece. A longer sentence is cut at its last
            comma or space.

    Raises:
        ValueError: a length is out of range.

    """

    def __init__(self, *, first: int | None = _FIRST, longest: int = _LONGEST) -> None:
        if longest < 1:
            raise ValueError(f"longest must be at least 1 character, not {longest}")
        if first is not None and first < 1:
            raise ValueError(f"first must be at least 1 character, or None, not {first}")
        self._first = first
        self._longest = longest
        self._begin()

    def feed(self, piece: str) -> list[str]:
        """Add a piece of text; return the pieces that are complete now."""
        self._text += piece
        return self._take(final=False)

    def flush(self) -> list[str]:
        """Return what is left at the end of the text, and start over."""
        sentences = self._take(final=True)
        self._begin()
        return sentences

    def _begin(self) -> None:
        self._text = ""
        self._line_begins = True
        self._is_first = True

    def _take(self, *, final: bool) -> list[str]:
        sentences = []
        while True:
            self._skip_space()
            if not self._skip_code(final):
                break
            end = self._end(final)
            if not end:
                break
            piece, rest = self._text[:end], self._text[end:]
            spoken = speakable(piece, line_begins=self._line_begins)
            self._text, self._line_begins = rest, False
            if any(map(str.isalnum, spoken)):
                sentences.append(f"{spoken} " if rest[:1].isspace() else spoken)
                self._is_first = False
        return sentences

    def _skip_space(self) -> None:
        rest = self._text.lstrip()
        if "\n" in self._text[: len(self._text) - len(rest)]:
            self._line_begins = True
        self._text = rest

    def _skip_code(self, final: bool) -> bool:
        """Drop a block of code; return False if its end has not come yet."""
        if self._line_begins and self._text in _PART_OF_FENCE and not final:
            return False
        while self._line_begins and (fence := _FENCE.match(self._text)):
            if fence[2] is None:
                return True  # backticks later in the line: not a block
            closing = re.compile(rf"^[ \t]*{fence[1]}[^\n]*\n", re.MULTILINE)
            closed = closing.search(self._text, fence.end()) if fence[2] else None
            if closed is None:
                if final:
                    self._text = ""
                return False
            self._text = self._text[closed.end() :].lstrip()
        return True

    def _end(self, final: bool) -> int:
        """Return the end of the next piece, or 0 if more text is needed to know it."""
        text, clause = self._text, 0
        early = self._longest
        if self._is_first and self._first:
            early = min(self._first, early)
        for found in _CANDIDATE.finditer(text):
            end = found.start() if found["newline"] else found.end()
            if end > early and clause:
                return clause
            if end > self._longest:
                break
            if found["newline"]:
                return end
            if found["clause"]:
                if end > early:
                    return end
                if end >= _SHORTEST:
                    clause = end
            elif end == len(text) and not final:
                return 0  # more marks may follow
            else:
                decided = self._ends_sentence(found, final)
                if decided is None:
                    return 0
                if decided:
                    return end
        if len(text) > early and clause:
            return clause
        if len(text) > self._longest:
            return self._last_space()
        return len(text) if final else 0

    def _ends_sentence(self, found: re.Match[str], final: bool) -> bool | None:
        """Return whether these marks end a sentence; None if more text is needed to know it."""
        before, marks, after = self._text[: found.start()], found["end"], self._text[found.end() :]
        if marks[-1] in _WIDE_ENDS or not after:
            return True
        if not after[0].isspace():
            return False
        following = after.lstrip()[:1]
        if marks == "…" or (len(marks) > 1 and not marks.strip(".")):
            needs: bool | None = following.isupper()
        elif marks != ".":
            return True
        else:
            last = _LAST_WORD.search(before)
            word = last[0] if last else ""
            if _NEVER_LAST.fullmatch(word):
                return False
            if _LAST_BEFORE_CAPITAL.fullmatch(word):
                needs = following.isupper()
            elif _NOT_LAST_BEFORE_DIGIT.fullmatch(word):
                needs = not following.isdecimal()
            else:
                in_list = word == before and word.isdecimal()
                return not in_list and (word == "I" or not _INITIALS.fullmatch(word))
        if following:
            return needs
        return True if final else None

    def _last_space(self) -> int:
        """Return where to cut a sentence that is too long and has no comma."""
        space = _LAST_SPACE.match(self._text[: self._longest + 1])
        return space.end(1) if space else self._longest


def speakable(text: str, *, line_begins: bool = True) -> str:
    """Return a line of text without the marks that are written but not spoken.

    Args:
        text: Markdown or plain text, without blocks of code.
        line_begins: whether it is the beginning of a line, where headings and bullets stand.

    """
    if line_begins and (mark := _LINE_MARK.match(text)):
        text = text[mark.end() :]
    text = _ESCAPE.sub(r"\1", text)
    text = _LINK_TARGET.sub("", text)
    text = _ADDRESS.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _STARS.sub(lambda stars: stars["key"] or "", text)
    text = _UNDERSCORES.sub("", text)
    text = _MARKS.sub("", text)
    text = _PICTURES.sub(" ", text)
    return _SPACE.sub(" ", _SPACE_BEFORE_MARK.sub("", text)).strip()
