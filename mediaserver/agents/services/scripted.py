"""A language model that answers from a script."""

from __future__ import annotations

import asyncio
import json
import re
import string
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from mediaserver.agents.services.language_model import (
    Message,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)


_PIECE: Final = re.compile(r"\s*\S+\s*\Z|\s*\S+")
_RESULT: Final = "result"


@dataclass(frozen=True, slots=True)
class Use:
    """Uses a tool.

    Attributes:
        tool: its name.
        arguments: its arguments. In strings, ``{name}`` stands for the group of that name, and
            ``{0}`` for the whole match.

    """

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """What to say or do if the caller's words match.

    Attributes:
        pattern: a regular expression to find in the caller's last words; case does not matter.
        reply: what to say; ``{name}`` and ``{0}`` stand for what matched. With `use` it is said
            afterwards, and ``{result}`` stands for what the tools returned.
        use: the tools to use first.

    """

    pattern: str
    reply: str = ""
    use: Use | Sequence[Use] = ()


ScriptedAnswer: TypeAlias = str | Use | Sequence[Use]


class ScriptedModel:
    """A `LanguageModel` that answers by rules or from a list, for trying and testing agents.

    The first rule that matches answers a turn of the caller. If none matches, the next of `turns`
    answers it, and when those are used up, `otherwise` does. Turns are counted in the conversation,
    so that one object serves all calls. Words come one by one, and count as tokens.

    Args:
        rules: each is a `Rule`, or a pair of a pattern and a reply.
        turns: the answers to the turns that no rule matches, in order. A `Use` in place of text
            uses a tool, and then says what it returned.
        otherwise: the answer to everything else.
        first: seconds before the first word.
        between: seconds from one word to the next.

    Raises:
        ValueError: a pattern is not a regular expression, a reply names a group that its pattern
            does not have, a rule has nothing to say or do, or a time is negative.

    """

    def __init__(
        self,
        rules: Iterable[Rule | tuple[str, ScriptedAnswer]] = (),
        *,
        turns: Sequence[ScriptedAnswer] = (),
        otherwise: str = "Sorry, I did not understand that.",
        first: float = 0.0,
        between: float = 0.0,
    ) -> None:
        for name, seconds in (("first", first), ("between", between)):
            if seconds < 0:
                raise ValueError(f"{name} must be 0 seconds or more, not {seconds}")
        self._rules = [_Compiled(_as_rule(rule)) for rule in rules]
        self._turns = [_Compiled(_as_rule(("", turn))) for turn in turns]
        self._otherwise = _Compiled(Rule("", otherwise))
        self._first = first
        self._between = between

    async def respond(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[str | ToolCall | Tokens]:
        """Yield the reply word by word, or tool calls; then the cost, in words."""
        caller = [index for index, message in enumerate(conversation) if _is_caller(message)]
        words = _text_of(conversation[caller[-1]]) if caller else ""
        since = conversation[caller[-1] + 1 :] if caller else conversation
        rule, found = self._choose([_text_of(conversation[index]) for index in caller], words)
        results = [message.text for message in since if isinstance(message, ToolResult)]
        offered = {tool.name for tool in tools}
        uses = [] if results else [use for use in rule.uses if use.tool in offered]
        clock = asyncio.get_running_loop().time
        due = clock() + self._first
        out = 0
        await _until(due, clock)
        if uses:
            for number, use in enumerate(uses, 1):
                arguments = json.dumps(_filled(use.arguments, found), ensure_ascii=False)
                out += len(arguments.split())
                yield ToolCall(f"call-{len(conversation)}-{number}", use.tool, arguments)
        else:
            missing = ", ".join(use.tool for use in rule.uses if use.tool not in offered)
            result = " ".join(results) or (f"there is no tool {missing}" if missing else "")
            for piece in _PIECE.findall(rule.say(found, result)):
                await _until(due, clock)
                due += self._between
                out += 1
                yield piece
        yield Tokens(sum(len(_text_of(message).split()) for message in conversation), out)

    def _choose(self, caller: Sequence[str], words: str) -> tuple[_Compiled, re.Match[str] | None]:
        for rule in self._rules:
            if found := rule.pattern.search(words):
                return rule, found
        unmatched = sum(
            not any(rule.pattern.search(said) for rule in self._rules) for said in caller
        )
        if 0 < unmatched <= len(self._turns):
            return self._turns[unmatched - 1], None
        return self._otherwise, None


class _Compiled:
    """A rule, checked and compiled."""

    def __init__(self, rule: Rule) -> None:
        try:
            self.pattern = re.compile(rule.pattern, re.IGNORECASE)
        except re.error as error:
            raise ValueError(
                f"the pattern {rule.pattern!r} is not a regular expression: {error}"
            ) from error
        self.uses = [rule.use] if isinstance(rule.use, Use) else list(rule.use)
        for use in self.uses:
            if not isinstance(use, Use):
                raise ValueError(f"a rule uses tools by Use(name, arguments), not by {use!r}")
        if not rule.reply and not self.uses:
            raise ValueError(f"the rule for {rule.pattern!r} has neither a reply nor a tool to use")
        self.reply = rule.reply or "{result}"
        groups = {*self.pattern.groupindex, *map(str, range(self.pattern.groups + 1))}
        for text in _texts([use.arguments for use in self.uses]):
            _require_known(text, groups, rule)
        _require_known(self.reply, groups | ({_RESULT} if self.uses else set()), rule)

    def say(self, found: re.Match[str] | None, result: str) -> str:
        """Return the reply with what matched and what the tools returned filled in."""
        return _fill(self.reply, found, result)


def _as_rule(rule: Rule | tuple[str, ScriptedAnswer]) -> Rule:
    if isinstance(rule, Rule):
        return rule
    try:
        pattern, reply = rule
    except (TypeError, ValueError):
        raise ValueError(f"a rule is Rule(...) or (pattern, reply), not {rule!r}") from None
    return Rule(pattern, reply) if isinstance(reply, str) else Rule(pattern, use=reply)


def _is_caller(message: Message) -> bool:
    return isinstance(message, Text) and message.role == "user"


def _text_of(message: Message) -> str:
    return message.arguments if isinstance(message, ToolCall) else message.text


def _texts(value: Any) -> Iterable[str]:
    """Yield all strings in `value`, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _require_known(text: str, known: set[str], rule: Rule) -> None:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(
            f"{text!r} cannot be filled in: {error}; a brace is written {{{{"
        ) from None
    for name in names:
        if name not in known:
            allowed = ", ".join(f"{{{each}}}" for each in sorted(known))
            raise ValueError(
                f"{text!r} for the pattern {rule.pattern!r} has {{{name}}}; allowed: {allowed}"
            )


def _filled(value: Any, found: re.Match[str] | None) -> Any:
    if isinstance(value, str):
        return _fill(value, found, "")
    if isinstance(value, Mapping):
        return {name: _filled(each, found) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(each, found) for each in value]
    return value


def _fill(text: str, found: re.Match[str] | None, result: str) -> str:
    groups = [found[0], *found.groups()] if found else [""]
    named = found.groupdict() if found else {}
    return text.format(
        *(group or "" for group in groups),
        **{name: group or "" for name, group in named.items()} | {_RESULT: result},
    )


async def _until(due: float, clock: Callable[[], float]) -> None:
    """Wait until a time of the clock."""
    if (seconds := due - clock()) > 0:
        await asyncio.sleep(seconds)
