"""A menu that callers use by key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from mediaserver.agents.conversing.readiness import kept_ready
from mediaserver.agents.conversing.setting_types import check_service
from mediaserver.agents.prompts import Prompt, check_file, check_prompt, spoken
from mediaserver.agents.services import TextToSpeech, Voice
from mediaserver.checks import check_callback, check_handler
from mediaserver.handler import Handler, StreamHandler
from mediaserver.protocol import Dtmf
from mediaserver.stream import Stream


KEYS = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class Transfer:
    """A choice: transfer the call to the answer XML at a URL."""

    url: str

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://")):
            raise ValueError(f"a transfer goes to the URL of answer XML, not {self.url!r}")


MenuStep: TypeAlias = Literal["hang_up", "again", "back"]
"""A choice: end the call, ask again, or go back to the menu before; the first asks again."""

Choice: TypeAlias = "Menu | Transfer | MenuStep | StreamHandler | type[Handler]"
"""What a key chooses: a menu, a transfer, a step, or a handler that takes over the stream."""

_Outcome: TypeAlias = Literal["done", "again", "back"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Menu:
    """Asks for a key, and does what it chooses. A menu is a handler, and menus nest.

        MENU = Menu(
            prompt="welcome.wav",
            choices={"1": sales, "2": Transfer("https://example.com/support.xml"), "9": "again"},
        )

    When the handler that was chosen returns, the menu and the stream end. A handler may run a menu
    itself: ``await MENU(stream)``. A prompt is a `Wav`, the path of a WAV or FLAC file, or text if
    there is a `text_to_speech`.

    Args:
        prompt: the question.
        choices: the choices by key, or by several keys, as in ``{"1": …, "42": …}``. An entry is
            complete as soon as no longer choice begins with it.
        otherwise: takes any other entry, such as an account number. It is called with the stream
            and the keys.
        longest: the highest number of keys for `otherwise`; after that many, no more are awaited.
        terminator: the key that ends an entry that could be longer; None for no such key.
        barge_in: whether a key stops what is said. If not, keys are ignored meanwhile.
        timeout: seconds to wait for the first key, after the prompt was heard.
        between: seconds to wait for each further key.
        retries: the number of times to ask again after an invalid entry or none.
        invalid: said after an invalid entry.
        unanswered: said when no key came.
        give_up: the choice that is taken when the caller has made none.
        goodbye: said before that.
        text_to_speech: speaks text, a `Voice` as well. Nested menus have their own.

    Raises:
        ValueError: a key does not exist, a file cannot be played, or a prompt is text and there is
            no `text_to_speech`.
        HandlerError: a choice is not a handler.

    """

    prompt: Prompt
    choices: Mapping[str, Choice] = field(default_factory=dict)
    otherwise: Callable[[Stream, str], Awaitable[object]] | None = None
    longest: int = 32
    terminator: str | None = "#"
    barge_in: bool = True
    timeout: float = 5.0
    between: float = 2.0
    retries: int = 2
    invalid: Prompt | None = None
    unanswered: Prompt | None = None
    give_up: Choice = "hang_up"
    goodbye: Prompt | None = None
    text_to_speech: TextToSpeech | Voice | None = None

    def __post_init__(self) -> None:
        for prompt in (self.prompt, self.invalid, self.unanswered, self.goodbye):
            if prompt is not None:
                check_prompt(prompt, self.text_to_speech)
                check_file(prompt)
        if not self.choices and self.otherwise is None:
            raise ValueError("a menu without choices needs otherwise")
        if self.otherwise is not None:
            check_callback("otherwise", self.otherwise, ("stream", "keys"))
        if self.text_to_speech is not None:
            check_service("text_to_speech", self.text_to_speech, TextToSpeech | Voice)
        if self.terminator is not None and self.terminator not in KEYS:
            raise ValueError(f"the terminator is one of 0-9*#A-D, not {self.terminator!r}")
        for keys, choice in self.choices.items():
            if not keys or not set(keys) <= KEYS:
                raise ValueError(f"a choice has keys of 0-9*#A-D, not {keys!r}")
            if self.terminator is not None and self.terminator in keys[1:]:
                raise ValueError(f"the terminator {self.terminator!r} is within the keys {keys!r}")
            _check_choice(choice)
        _check_choice(self.give_up)
        if self.give_up == "again":
            raise ValueError("give_up must lead somewhere: 'again' would ask for ever")
        for name in ("timeout", "between"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is in seconds, above 0, not {getattr(self, name)!r}")
        if self.retries < 0 or self.longest < 1:
            raise ValueError("retries must not be below 0, nor longest below 1")

    @asynccontextmanager
    async def serving(self, settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, str]]:
        """Check and prewarm what speaks text, here and in nested menus; close it in the end."""
        async with kept_ready(self._speakers()) as unready:
            yield unready

    def _speakers(self) -> Iterator[TextToSpeech | Voice]:
        if self.text_to_speech is not None:
            yield self.text_to_speech
        for choice in self.choices.values():
            if isinstance(choice, Menu):
                yield from choice._speakers()

    async def __call__(self, stream: Stream) -> None:
        """Ask until the caller has made a choice, or makes none."""
        while await self._run(stream) == "back":
            pass

    async def _run(self, stream: Stream) -> _Outcome:
        failures = 0
        remark: Prompt | None = None
        while (entered := await self._ask(stream, remark, self.prompt)) is not None:
            outcome: _Outcome = "again"
            remark = None
            if entered in self.choices:
                outcome = await self._go(stream, self.choices[entered])
                failures = 0
            elif self.otherwise is not None and entered not in ("", self.terminator):
                await self.otherwise(stream, entered)
                outcome = "done"
            elif failures == self.retries:
                await self._say(stream, self.goodbye)
                outcome = await self._go(stream, self.give_up)
            else:
                failures += 1
                remark = self.invalid if entered else self.unanswered
            if outcome != "again":
                return outcome
        return "done"

    async def _go(self, stream: Stream, choice: Choice) -> _Outcome:
        if isinstance(choice, Menu):
            outcome = await choice._run(stream)
            return "again" if outcome == "back" else outcome
        if isinstance(choice, Transfer):
            await stream.transfer(choice.url)
        elif isinstance(choice, type):
            await choice()(stream)
        elif not isinstance(choice, str):
            await choice(stream)
        elif choice == "hang_up":
            await stream.hang_up()
        else:
            return choice
        return "done"

    async def _ask(self, stream: Stream, *prompts: Prompt | None) -> str | None:
        """Say the prompts and return the entry, empty without a key; None if the call has ended."""
        stream.ignore_audio()
        saying = asyncio.ensure_future(self._say(stream, *prompts))
        key = asyncio.ensure_future(_next_key(stream))
        try:
            await asyncio.wait({saying, key}, return_when=asyncio.FIRST_COMPLETED)
            while not saying.done() and not self.barge_in and key.result() is not None:
                key = asyncio.ensure_future(_next_key(stream))
                await asyncio.wait({saying, key}, return_when=asyncio.FIRST_COMPLETED)
            if not saying.done():
                stream.interrupt()
            else:
                saying.result()
                await asyncio.wait({key}, timeout=self.timeout)
                if not key.done():
                    return ""
        finally:
            await _cancel(saying)
            await _cancel(key)
        first = key.result()
        return None if first is None else await self._entered(stream, first)

    async def _entered(self, stream: Stream, entered: str) -> str | None:
        """Return the whole entry, from its first key on; None if the call has ended."""
        while not self._is_whole(entered):
            try:
                async with asyncio.timeout(self.between):
                    key = await _next_key(stream)
            except TimeoutError:
                break
            if key is None:
                return None
            if key == self.terminator:
                break
            entered += key
        return entered

    def _is_whole(self, entered: str) -> bool:
        if any(keys.startswith(entered) and keys != entered for keys in self.choices):
            return False
        if entered in self.choices or self.otherwise is None:
            return True
        return entered == self.terminator or len(entered) >= self.longest

    async def _say(self, stream: Stream, *prompts: Prompt | None) -> None:
        """Say prompts, and return when they were heard or interrupted."""
        playback = None
        for prompt in prompts:
            if prompt is not None:
                playback = await stream.say(spoken(prompt, stream.format, self.text_to_speech))
        if playback is not None:
            await playback.heard()


async def _next_key(stream: Stream) -> str | None:
    """Return the next key, or None at the end of the stream."""
    async for event in stream.controls():
        if isinstance(event, Dtmf) and event.track == "inbound":
            return event.digit
    return None


async def _cancel(task: asyncio.Future[Any]) -> None:
    """Cancel a task, and wait until it has ended, since only one task may read a stream."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        # Retrieved, so that it is not reported as lost.
        task.exception()


def _check_choice(choice: Choice) -> None:
    if isinstance(choice, str):
        if choice not in get_args(MenuStep):
            raise ValueError(
                f"a choice is one of {get_args(MenuStep)}, a Menu, a Transfer or a handler, "
                f"not {choice!r}"
            )
    elif not isinstance(choice, Menu | Transfer):
        check_handler(choice, {})
