"""Takes what is not to be spoken out of a model's text: its thinking, and tool calls as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final


THINKING_TAGS: Final = ("<think>", "<thinking>")
"""The opening tags of blocks in which models think."""

_TOOL_CALLS: Final = (
    "<tool_call>",
    "<tool_calls>",
    "<|tool_call|>",
    "<|python_tag|>",
    "[TOOL_CALLS]",
)
"""How models write tool calls if their server does not read them. Some of them are never closed."""


class SpokenPart:
    """Filters one answer of a model, as it streams: what is left is to be spoken.

    A closing tag without an opening one shows that all before it was thinking.

    Args:
        tags: the opening tags of the blocks to drop, such as ``<think>`` or ``[THINK]``; a name
            alone stands in angle brackets. The closing tag has a slash after the first character. A
        tag in angle brackets may have attributes.
        thinks_first: whether the answer may begin within a block whose opening tag was a part of
            the prompt. Then nothing is to be spoken before a tag, or the end of the answer, shows
            whether it did: without a closing tag, all of it is the answer.

    Attributes:
        restarted: whether the piece that was fed last closed a block that was not opened. What was
            taken for words before it, and was not spoken yet, is not to be.

    Raises:
        ValueError: a tag is not one.

    """

    def __init__(self, tags: Sequence[str] = THINKING_TAGS, *, thinks_first: bool = False) -> None:
        openings = [_opening(tag) for tag in tags]
        blocks = {opening.lower(): _closing(opening) for opening in (*openings, *_TOOL_CALLS)}
        self._ends = {opening: _Tags([closing]) for opening, closing in blocks.items()}
        self._stray = frozenset(_closing(opening).lower() for opening in _TOOL_CALLS)
        self._all = _Tags([*blocks, *blocks.values()])
        # The tags that end the block that is being dropped; None outside of blocks.
        self._until: _Tags | None = None
        self._undecided = thinks_first
        # The end of the text so far, if it may be the beginning of a tag, or is undecided.
        self._rest = ""
        # Whether a block was dropped since the last word, and whether that needs a space after it.
        self._gap = False
        self._in_word = False
        self.restarted = False

    def feed(self, piece: str) -> str:
        """Return what is to be spoken, as far as that is known now."""
        self.restarted = False
        text = self._rest + piece
        spoken = ""
        while found := (self._until or self._all).find(text):
            tag = _without_attributes(found)
            if self._until is not None:
                self._until = None
            elif tag in self._ends or tag in self._stray:
                spoken += self._spaced(text[: found.start()])
                self._until = self._ends.get(tag)
            else:
                spoken = ""
                self._in_word = False
                self.restarted = True
            self._undecided = False
            self._gap = True
            text = text[found.end() :]
        if self._undecided:
            self._rest = text
            return ""
        end = (self._until or self._all).begins(text)
        self._rest = text[end:]
        return spoken if self._until is not None else spoken + self._spaced(text[:end])

    def flush(self) -> str:
        """Return what is left to be spoken at the end of the answer."""
        rest, self._rest = self._rest, ""
        return "" if self._until is not None else self._spaced(rest)

    def _spaced(self, text: str) -> str:
        """Return `text`, apart from the word before it if a block stood between them."""
        if not text:
            return ""
        if self._gap and self._in_word and not text[0].isspace():
            text = f" {text}"
        self._gap = False
        self._in_word = not text[-1].isspace()
        return text


def _opening(tag: str) -> str:
    name = tag.strip()
    if re.fullmatch(r"[\w-]+", name):
        name = f"<{name}>"
    if len(name) < 3 or name[0].isalnum() or name[-1].isalnum() or name[1] == "/":
        raise ValueError(f"a thinking tag is an opening tag such as <think>, not {tag!r}")
    return name


def _closing(opening: str) -> str:
    return f"{opening[0]}/{opening[1:]}"


def _without_attributes(tag: re.Match[str]) -> str:
    return (f"{tag['element']}>" if tag["element"] else tag.group()).lower()


_ELEMENT: Final = re.compile(r"</?[\w-]+>")


class _Tags:
    """Some tags, to be found in a text without regard to case."""

    def __init__(self, tags: Sequence[str]) -> None:
        self._tags = [tag.lower() for tag in tags]
        self._first = frozenset(tag[0] for tag in self._tags)
        self._longest = max(map(len, self._tags), default=1)
        elements = "|".join(re.escape(tag[:-1]) for tag in tags if _ELEMENT.fullmatch(tag))
        others = "|".join(re.escape(tag) for tag in tags if not _ELEMENT.fullmatch(tag))
        never = r"\Z\A."
        attributes = rf"\s[^<>{re.escape(''.join(self._first))}]{{0,200}}"
        self._pattern = re.compile(
            rf"(?P<element>{elements or never})(?:{attributes})?(?<!/)>|(?:{others or never})",
            re.IGNORECASE | re.ASCII,
        )
        self._begun = re.compile(rf"(?:{elements or never}){attributes}\Z", re.I | re.ASCII)

    def find(self, text: str) -> re.Match[str] | None:
        """Return the first of them in `text`, or None."""
        return self._pattern.search(text)

    def begins(self, text: str) -> int:
        """Return where one may begin that ends after `text`; the length of `text` if none does."""
        last = text.rfind("<")
        if last >= 0 and self._begun.match(text, last):
            return last
        for index in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[index] in self._first:
                end = text[index:].lower()
                if any(tag.startswith(end) for tag in self._tags):
                    return index
        return len(text)
