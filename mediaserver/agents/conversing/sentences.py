"""Cuts text into sentences to speak while a model is still writing it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mediaserver.agents.conversing.scripts import POLITE, STOPLESS, STOPS, whole_letters
from mediaserver.agents.conversing.sentence_ends import Mark, ends_sentence
from mediaserver.agents.conversing.speakable import PICTURES, speakable


_LONGEST: Final = 300
"""Highest number of characters in a piece: about twenty seconds of speech."""

_FIRST: Final = 60
"""Characters after which the first sentence is cut at a comma: four seconds of speech."""

_SHORTEST: Final = 20  # a second and a half: the next piece is synthesised meanwhile

_SLICE: Final = 256
"""Characters that are looked at together, so that the work grows only with the text's length."""

_LOOK_BACK: Final = 8
"""Characters at the end of the text that may become part of a mark: a dash, a polite word."""

_CLOSERS: Final = rf""""'”’»)\]}}*_`~」』）】〉》\u061c\u200e\u200f{PICTURES}"""

_CANDIDATE: Final = re.compile(
    rf"""(?P<newline>\n)
    | (?P<end>[.!?…{STOPS}]+ | (?<=[\u0370-\u03ff\u1f00-\u1fff]);+ | (?<=[\u0531-\u058f]):)
        (?:\]\([^()\s]{{0,200}}\) | [{_CLOSERS}] | [“«](?=[\s,.;]|\Z))* (?:\s»)?
    | (?P<polite>(?:{POLITE})[{_CLOSERS}]*(?=\s))
    | (?P<gap>(?<=[{STOPLESS}])(?=\s[{STOPLESS}]))
    | (?P<clause>[,;:؛،፣፤፥၊՝](?=\s) | [，、；：၊] | —(?=.) | \s(?:--?|–)(?=\s))""",
    re.VERBOSE | re.DOTALL,
)
_FENCE: Final = re.compile(r"(?P<fence>`{3,99}|~{3,99})[^`\n]{0,99}(?P<line>\n)?")
_PART_OF_FENCE: Final = frozenset({"`", "``", "~", "~~"})
_SPACE: Final = re.compile(r"\s+")
_LINE_ENDS: Final = frozenset("\n\r\v\f\x85\u2028\u2029")


class Sentences:
    """Cuts a text that comes in pieces of any length into pieces to be spoken.

    A piece is a sentence or a line. A long first sentence is cut at a comma, so that the caller
    hears something sooner. The pieces do not depend on how the input was cut, unless `words` has
    returned a part of one. A sentence is
    returned as soon as the characters have come that decide where it ends: most often the first
    letter of the next one.

    The text may be in any language. Where the script has no full stop, as in Thai, a sentence ends
    at the space after a polite word, and a long one at any space.

    What a voice cannot say is removed: marks of emphasis, headings, bullets and tables, the targets
    of links, emoji, and whole blocks of code. No other word is lost.

    ``"".join`` of all pieces is the text as it is spoken, for the conversation. White space becomes
    one space, at the end of the piece before it.

    Args:
        first: characters after which the first sentence is cut at a comma; None: never.
        longest: the highest number of characters in a piece. A longer sentence is cut at its last
            comma or space.
        tags: marks that stay, because they tell the voice how to speak.

    Raises:
        ValueError: a length is out of range.

    """

    def __init__(
        self, *, first: int | None = _FIRST, longest: int = _LONGEST, tags: Sequence[str] = ()
    ) -> None:
        if longest < 1:
            raise ValueError(f"longest must be at least 1 character, not {longest}")
        if first is not None and first < 1:
            raise ValueError(f"first must be at least 1 character, or None, not {first}")
        self._first = first
        self._longest = longest
        self._tags = tags
        self._begin()

    def feed(self, piece: str) -> list[str]:
        """Add a piece of text; return the pieces that are complete now."""
        sentences = []
        for start in range(0, len(piece), _SLICE):
            self._add(piece[start : start + _SLICE])
            sentences += self._take(final=False)
        return sentences

    @property
    def has_words(self) -> bool:
        """Whether a piece has begun that is not complete."""
        return any(map(str.isalnum, self._text))

    def words(self) -> str:
        """Return the whole words of a piece that is not complete; the rest of it comes later.

        Empty if there are none, or if they are within a link or code. A script without spaces
        between words has none.
        """
        if not self._skip_what_is_not_said(final=False):
            return ""
        words = self._text[: self._text.rfind(" ") + 1].rstrip()
        if not any(map(str.isalnum, words)) or _is_open(words):
            return ""
        return self._cut(self._part(len(words)))

    def flush(self) -> list[str]:
        """Return what is left at the end of the text, and start over."""
        sentences = self._take(final=True)
        self._begin()
        return sentences

    def _begin(self) -> None:
        self._text = ""
        self._fence = ""  # of the block of code that the text is in
        self._line_begins = True
        self._is_first = True
        self._sentence_begins = True
        self._has_capitals = True  # whether the sentences so far begin with capitals
        self._go_on_with("")

    def _add(self, piece: str) -> None:
        """Add text; white space becomes one space or one new line."""
        whole = self._text.rstrip()
        piece = self._text[len(whole) :] + piece
        self._text = whole + _SPACE.sub(
            lambda space: " " if _LINE_ENDS.isdisjoint(space[0]) else "\n", piece
        )

    def _take(self, *, final: bool) -> list[str]:
        sentences = []
        while self._skip_what_is_not_said(final):
            end = self._end(final)
            if not end:
                break
            if piece := self._cut(end):
                sentences.append(piece)
        return sentences

    def _cut(self, end: int) -> str:
        """Return the text up to a place as it is spoken; empty if nothing of it is said."""
        piece, rest = self._text[:end], self._text[end:]
        spoken = speakable(piece, line_begins=self._line_begins, tags=self._tags)
        self._line_begins = False
        self._go_on_with(rest)
        if not any(map(str.isalnum, spoken)):
            return ""
        self._is_first = False
        return f"{spoken} " if rest[:1].isspace() else spoken

    def _go_on_with(self, text: str) -> None:
        self._text = text
        self._decided = 0  # the place up to which no piece ends
        self._clause = 0  # the last comma before it
        self._caseless = 0  # the place up to which no letter is small or a capital

    def _skip_what_is_not_said(self, final: bool) -> bool:
        """Drop space and blocks of code; return False if their end has not come yet."""
        while True:
            if self._fence and not self._skip_code(final):
                return False
            if self._text[:1].isspace():
                self._line_begins |= self._text[0] == "\n"
                self._go_on_with(self._text[1:])
            if not self._line_begins:
                return True
            if self._text in _PART_OF_FENCE:
                return final
            begins = _FENCE.match(self._text)
            if begins and begins["line"]:
                self._fence = begins["fence"]
                self._go_on_with(self._text[begins.end() :])
            else:
                return not begins or begins.end() < len(self._text)

    def _skip_code(self, final: bool) -> bool:
        """Drop lines of code; return whether the last of them has come."""
        while True:
            line, new_line, rest = self._text.partition("\n")
            after = line.lstrip().lstrip(self._fence[0])
            closes = len(line.lstrip()) - len(after) >= len(self._fence)
            if closes and (after[:1].isspace() or (not after and (new_line or final))):
                self._fence = ""
                self._go_on_with(after + new_line + rest)
                return True
            if not new_line:
                # This much of the line decides, whatever follows.
                self._text = "x" if after else self._fence if closes else line.lstrip()
                return False
            self._text = rest

    def _end(self, final: bool) -> int:
        """Return the end of the next piece, or 0 if more text is needed to know it."""
        text, early = self._text, self._longest
        if self._is_first and self._first:
            early = min(self._first, early)
        for found in _CANDIDATE.finditer(text, self._decided):
            kind = found.lastgroup
            end = found.start() if kind == "newline" else found.end()
            if end > early and self._clause:
                return self._part(self._clause)
            if end > self._longest:
                break
            if kind == "newline" or kind == "polite":
                return self._whole(end)
            if kind == "clause" or kind == "gap":
                if end > early or (kind == "gap" and end > _FIRST):
                    return self._part(end)
                if end >= _SHORTEST:
                    if kind == "gap" and self._is_first and self._first:
                        return self._part(end)
                    self._clause = end
            elif end == len(text) and not final:
                self._decided = found.start()  # more marks may follow
                return 0
            else:
                mark = Mark(text, found.start(), found.end("end"), end)
                ends = ends_sentence(mark, capitals=self._capitals(mark.at), final=final)
                if ends is None:
                    self._decided = found.start()
                    return 0
                if ends:
                    return self._whole(end)
            self._decided = found.end()
        if len(text) > early and self._clause:
            return self._part(self._clause)
        if len(text) > self._longest:
            space = text.rfind(" ", 1, self._longest + 1)
            return self._part(space if space > 0 else whole_letters(text, self._longest))
        self._decided = max(self._decided, len(text) - _LOOK_BACK)
        return len(text) if final else 0

    def _whole(self, end: int) -> int:
        """Note that a sentence ends there."""
        self._has_capitals = self._capitals(end)
        self._sentence_begins = True
        return end

    def _part(self, end: int) -> int:
        """Note that the sentence goes on after the piece that ends there."""
        self._has_capitals = self._capitals(end)
        self._sentence_begins = False
        return end

    def _capitals(self, end: int) -> bool:
        """Whether this sentence begins with a capital. If no letter tells, earlier ones do."""
        if not self._sentence_begins:
            return self._has_capitals
        for place in range(self._caseless, end):
            letter = self._text[place]
            if letter.isdigit():
                self._caseless = place
                return self._has_capitals  # 5 in. by 3
            if letter.islower() or letter.isupper():
                self._caseless = place
                return letter.isupper()
        self._caseless = max(self._caseless, end)
        return self._has_capitals


def _is_open(text: str) -> bool:
    """Whether a text may end within a mark that has spaces in it: a link, code or a tag."""
    return any(
        text.count(opening) > text.count(closing) for opening, closing in ("[]", "()", "<>")
    ) or bool(text.count("`") % 2)
