"""What all voice agents share: settings, turns, barge-in, tools, failures, reports."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, get_args

import structlog

from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.configured import Configured
from mediaserver.agents.conversing.conversation import Conversation
from mediaserver.agents.conversing.departure import HANG_UP, Departure
from mediaserver.agents.conversing.dialogue import Dialogue
from mediaserver.agents.conversing.keys import Keys
from mediaserver.agents.conversing.listening import BargeIn, Listener, Utterance
from mediaserver.agents.conversing.readiness import kept_ready, make_detector
from mediaserver.agents.conversing.reply import Reply, Work
from mediaserver.agents.conversing.tools import Tool, Toolbox, marked_tools
from mediaserver.agents.services import ServiceError, ToolCall, ToolResult, Transcript
from mediaserver.agents.turns import TurnSettings, TurnTaker, VoiceDetector, default_detector
from mediaserver.call import Frame, Turn
from mediaserver.handler import Handler
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.agents")

INAUDIBLE = "[inaudible]"
"""What the model is told when the caller interrupted and was not understood."""


class Agent(Configured, Handler, ABC):
    """A handler that converses. `VoiceAgent` and `RealtimeAgent` are the two kinds.

    Its settings are class attributes, to be set in a subclass, and keyword arguments, so that a
    route may set them too.

    Attributes:
        conversation: what was said so far, as the caller heard it.

    Raises:
        TypeError: if a setting does not exist.
        ValueError: if a setting has no sense.

    """

    prompt: str = ""
    """What the model is told to be and do."""
    greeting: str | None = None
    """What the agent says first; None leaves the first word to the caller."""
    tools: Sequence[Callable[..., Any]] = ()
    """What the model may use, beside methods marked with `tool`."""
    transfers: Mapping[str, str] = {}
    """Where the model may transfer the call to: a name, and the URL of answer XML."""
    can_hang_up: bool = True
    """Whether the model may end the call."""
    barge_in: BargeIn = "decide"
    """What the caller's voice does while the agent speaks: see `BargeIn`."""
    turn_taking: TurnSettings = TurnSettings()
    """When the caller has begun, finished, interrupted."""
    voice_detector: Callable[[], VoiceDetector] = staticmethod(default_detector)
    """Makes what tells speech from silence, for each call."""
    silence_prompt: str | None = "Are you still there?"
    """Said when both sides have been silent for ``turn_taking.silence``; None: nothing."""
    silence_prompts: int = 2
    """After so many that were not answered the agent says goodbye and hangs up."""
    goodbye: str | None = "Goodbye."
    """Said before the agent hangs up without having said anything else."""
    apology: str | None = "Sorry, something went wrong. Please say that again."
    """Said when a service failed; None: silence."""
    failures_allowed: int = 2
    """So many turns in a row may fail; at the next one the agent gives up."""
    give_up: str = HANG_UP
    """What it does then: ``hang_up``, or the name of a transfer."""
    hold_after: float = 0.8
    """Seconds that a tool may run before its hold phrase is said."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._check_settings()
        self.conversation = Conversation()
        self._departure = Departure(
            lambda: self.stream, self.transfers, can_hang_up=self.can_hang_up
        )
        self.toolbox = Toolbox(*self._tool_functions())
        self.dialogue = Dialogue(
            begin=self._begin_reply,
            cancel=self._cancel_reply,
            settle=self.settle,
            report=self._report,
            still_owed=self.still_owed,
        )
        self._detector: VoiceDetector | None = None
        self._running: dict[Reply, asyncio.Task[None]] = {}
        self._last_turn: Turn | None = None
        self._speech_seconds = 0.0
        self._keys = Keys(self._take_keys)
        self._key_at = 0.0

    # What each kind of agent does in its own way.

    async def prewarm(self) -> None:
        """Get services ready: when the call is answered, and again when its stream starts."""

    async def open(self) -> None:
        """The stream has started: do what must be done before the greeting."""

    @abstractmethod
    async def hear(self, utterance: Utterance) -> str | None:
        """Follow an utterance, from its onset on, and return what was said.

        Runs in a task of its own. Give transcripts to ``self.listener.understood``: they may show
        that it is speech, or none.

        Returns:
            The text; empty if nothing was said, which is not answered; None if the text is not
            known, as where the model itself has heard it.

        Raises:
            ServiceError: the service failed.

        """

    @abstractmethod
    async def respond(self, reply: Reply) -> None:
        """Answer the conversation; return when the answer was heard.

        Is cancelled at an interruption, after `settle`. Sets the reply's timings and usage.

        Raises:
            ServiceError: a service failed.

        """

    @abstractmethod
    async def utter(self, reply: Reply, text: str) -> None:
        """Say exactly this, as a part of `reply`; return when it was heard.

        Raises:
            ServiceError: a service failed.

        """

    @abstractmethod
    def settle(self, reply: Reply) -> None:
        """Keep in the conversation what was heard of `reply`, and nothing else; set ``heard``.

        Called once for each reply: when it was heard to its end, or right after playback was
        interrupted, or at the end of the call.
        """

    def still_owed(self, reply: Reply) -> bool:
        """Tell whether a reply that was stopped before the caller noticed it must be given again.

        If so, it is made anew once the caller has finished, as one turn with what they went on to
        say.
        """
        return bool(reply.caller)

    def keep_words(self, text: str) -> None:
        """Keep in the conversation what the caller said, or pressed, before it is answered."""
        self.conversation.hear(text)

    async def said(self, reply: Reply) -> None:
        """Wait until what there is of `reply` has been heard, because nothing will follow.

        Raises:
            ServiceError: a service failed.

        """

    async def close(self) -> None:
        """The stream has ended, and no task of the agent runs any more: close what is open."""

    # Hooks for subclasses.

    async def on_transcript(self, transcript: Transcript) -> None:
        """The caller was understood, partially or finally."""

    async def on_barge_in(self, confirmed: bool) -> None:
        """The caller's voice came while the agent spoke, and was speech, or was not."""

    async def on_turn(self, turn: Turn) -> None:
        """A turn is over."""

    # The worker.

    _services: ClassVar[Sequence[str]] = ()
    """Which settings are services, to be prewarmed and closed by the worker."""

    @classmethod
    @asynccontextmanager
    async def serving(cls, settings: Mapping[str, Any]) -> AsyncIterator[None]:
        """Load the voice detector and prewarm the services; close these when the worker stops.

        A service that is away, or has no key, does not keep the worker from starting.

        Raises:
            DetectorUnavailableError: the detector's packages are missing.
            ImportError: those of a service are.

        """
        given = {name: settings.get(name, getattr(cls, name, None)) for name in cls._services}
        detector = settings.get("voice_detector")
        if detector is None:
            detector = inspect.getattr_static(cls, "voice_detector")
        await make_detector(detector.__func__ if isinstance(detector, staticmethod) else detector)
        async with kept_ready(service for service in given.values() if service is not None):
            yield

    # What an application may do.

    async def say(self, text: str) -> None:
        """Say something of the agent's own accord, after what it is saying already.

        Returns when it was heard, or was interrupted. In a tool, it is a part of the answer for
        which the tool is used.
        """
        reply = self.dialogue.current
        if reply is not None and reply.using_tools:
            await self._try(self.utter(reply, text))
            return
        await self._in_turn(partial(self.utter, text=text))

    def interrupt(self) -> None:
        """Stop what the agent says, or is about to say; the next word is the caller's."""
        self.stream.interrupt()
        self.dialogue.give_up()

    # The call.

    async def on_answer(self, answer: AnswerRequest, shared: Any) -> None:
        """Get ready while the carrier connects the stream."""
        self._detector = await self._make_detector()
        try:
            await self.prewarm()
        except ServiceError as error:
            self._log_failure(error)

    async def __call__(self, stream: Stream) -> None:
        """Converse until the stream ends."""
        self.stream = stream
        self._started_at = stream.clock()
        detector = self._detector or await self._make_detector()
        self.listener = Listener(
            stream,
            TurnTaker(self.turn_taking, detector),
            barge_in=self.barge_in,
            preroll=self.turn_taking.preroll,
            started=self._utterance_started,
            dropped=self._utterance_dropped,
            barged_in=self._barged_in,
            interrupt=self._give_way,
            answering=lambda: self.dialogue.current is not None,
            working=lambda: self.dialogue.using_tools,
            silent=self._both_silent,
        )
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = CallTasks(group, f"call {stream.call_id}", self._until_end)
                await super().__call__(stream)
        except BaseExceptionGroup as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None
        finally:
            if not self.dialogue.ended:
                # It was not the stream's end that ended it.
                self._end()
                await self.close()

    async def on_start(self) -> None:
        """Greet, unless the caller has spoken first; return when that was heard."""
        await asyncio.wait([self.start(self._open(), "opens")])
        tasks: list[asyncio.Task[None]] = []
        dialogue = self.dialogue
        if self.greeting is not None and dialogue.current is None and dialogue.owed is None:
            work = partial(self.utter, text=self.greeting)
            greeting = Reply(0, since=self._started_at, work=work)
            dialogue.owe(greeting)
            if greeting in self._running:
                tasks.append(self._running[greeting])
        # After the greeting, which is wanted first.
        await asyncio.wait([*tasks, self.start(self._warm_up(), "warms up")])

    async def on_audio(self, frame: Frame) -> None:
        """Listen."""
        self.listener.hear(frame)

    async def on_dtmf(self, digit: str) -> None:
        """Fall silent, and take the key as something the caller says."""
        if self.dialogue.ended:
            return
        self._give_way()
        self.dialogue.is_there()
        self.dialogue.presses()
        self.listener.taker.reset_silence()
        self._key_at = self.stream.clock()
        self._keys.press(digit)

    async def on_end(self) -> None:
        """End with the stream."""
        self._end()
        await self._tasks.cancel()
        await self.close()
        if self._last_turn is not None:
            # The stream, having ended, brings it to no hook any more.
            await self.on_turn(self._last_turn)

    def start(
        self, work: Coroutine[Any, Any, None], name: str, *, finishes: bool = False
    ) -> asyncio.Task[None]:
        """Run a task of this call. It is cancelled when the stream ends.

        An exception in it ends the call.

        Args:
            work: what to run.
            name: for logs.
            finishes: whether it may finish what it does, as a tool should, within the server's
                grace.

        Raises:
            StreamEndedError: if the stream has ended.

        """
        return self._tasks.start(work, name, finishes=finishes)

    # Turns.

    def _utterance_started(self, utterance: Utterance) -> None:
        self.dialogue.speaks(utterance)
        self.start(self._follow(utterance), "hears")

    def _utterance_dropped(self, utterance: Utterance) -> None:
        self.dialogue.go_on()

    async def _follow(self, utterance: Utterance) -> None:
        """Follow an utterance to its end, and have it answered."""
        text: str | None = ""
        failure: ServiceError | None = None
        try:
            try:
                text = await self.hear(utterance)
            except ServiceError as error:
                failure = error
            async for _ in utterance:
                pass  # the service ended before the caller did
        finally:
            self.dialogue.understood(utterance)
        self._speech_seconds += utterance.seconds_transcribed
        if failure is not None and not utterance.dropped:
            self.dialogue.is_there()
            self._answer("", utterance, partial(self._fail, error=failure))
            return
        if failure is not None:
            self._count_failure(failure)
        if utterance.dropped or text == "":
            self.dialogue.go_on()
            if (
                utterance.stopped_agent
                and self.dialogue.current is None
                and not self.dialogue.hearing
            ):
                # It would else be silent for no reason that the caller knows of.
                self._answer(INAUDIBLE, utterance, self.respond)
        else:
            self.dialogue.is_there()
            self._answer(text or "", utterance, self.respond)

    def _answer(
        self,
        text: str,
        utterance: Utterance | None,
        work: Work,
        since: float | None = None,
    ) -> None:
        """Have what the caller said answered, now or as soon as it may be."""
        if self.leaving:
            return
        if self.dialogue.current is not None and self.barge_in != "notify":
            self._give_way()
        clock = self.stream.clock()
        reply = Reply(None, since=clock if since is None else since, caller=text, work=work)
        if utterance is not None:
            reply.since = utterance.ended_at or utterance.finished_at or clock
            reply.turn_ended_at = utterance.finished_at
            reply.transcribed_at = clock if text else None
        if text:
            self.keep_words(text)
        self.dialogue.owe(reply)

    def _give_way(self) -> None:
        """Stop for the caller."""
        self.stream.interrupt()
        self.dialogue.give_way()

    async def _in_turn(self, work: Work) -> None:
        """Give a reply of the agent's own accord, after the current one; return when it is over."""
        while self.dialogue.current is not None:
            await asyncio.wait([self._running[self.dialogue.current]])
        reply = Reply(None, since=self.stream.clock(), work=work)
        self.dialogue.begin(reply)
        await asyncio.wait([self._running[reply]])

    # What the dialogue decides.

    def _begin_reply(self, reply: Reply) -> None:
        name = "speaks"
        if reply.number is not None:
            name = f"turn {reply.number}"
            reply.speech_seconds += self._speech_seconds
            self._speech_seconds = 0.0
        task = self.start(self._run_reply(reply), name)
        self._running[reply] = task
        task.add_done_callback(lambda _: self._running.pop(reply))

    def _cancel_reply(self, reply: Reply) -> None:
        self._running[reply].cancel()

    async def _run_reply(self, reply: Reply) -> None:
        try:
            try:
                await (reply.work or self.respond)(reply)
            except ServiceError as error:
                await self._fail(reply, error=error)
        except BaseException:
            self.dialogue.abandon(reply)
            raise
        self.dialogue.finish(reply)

    def _report(self, reply: Reply) -> None:
        turn = reply.report()
        if self.stream.ended:
            self._last_turn = turn
        self.stream.report(turn)

    def _end(self) -> None:
        """Take in nothing more, and settle what there is."""
        self._tasks.end()
        self.listener.end()
        self._keys.forget()
        self.dialogue.end()

    # The caller, otherwise than by answers.

    def _barged_in(self, confirmed: bool) -> None:
        self.stream.count_barge_in(confirmed)
        if type(self).on_barge_in is not Agent.on_barge_in:
            self.start(self.on_barge_in(confirmed), "on_barge_in")

    def _both_silent(self) -> None:
        if self.silence_prompt is None or self.leaving:
            return
        if not self.dialogue.silent():
            return
        work: Work = self._take_leave
        if self.dialogue.silences <= self.silence_prompts:
            work = partial(self.utter, text=self.silence_prompt)
        self.dialogue.begin(Reply(None, since=self.stream.clock(), work=work))

    def _take_keys(self, keys: str) -> None:
        self.dialogue.keys_over()
        self._answer(f"[pressed {keys}]", None, self.respond, since=self._key_at)

    # Ending the call.

    async def closing_tool(self, reply: Reply, call: ToolCall) -> ToolResult:
        """Use `hang_up` or `transfer`, once all that was said before has been heard.

        Who hangs up without a word says goodbye.
        """
        if call.name == HANG_UP and not reply.began and self.goodbye is not None:
            await self._try(self.utter(reply, self.goodbye))
        self.dialogue.close(reply)
        try:
            return await self.toolbox.use(call)
        finally:
            if not self.leaving:
                self.dialogue.reopen(reply)

    @property
    def leaving(self) -> bool:
        """Whether the agent has hung up or transferred the call."""
        return self._departure.done

    def is_closing(self, call: ToolCall) -> bool:
        """Tell whether a tool is one that ends the agent's part of the call."""
        return call.name in self._departure.tools

    async def _take_leave(self, reply: Reply, to: str = HANG_UP) -> None:
        """Say goodbye and hang up, or transfer the call without a word."""
        if to == HANG_UP and self.goodbye is not None:
            await self._try(self.utter(reply, self.goodbye))
        self.dialogue.close(reply)
        await self._departure.leave(to)

    # Failures.

    async def _fail(self, reply: Reply, *, error: ServiceError) -> None:
        """Make the best of a turn whose answer failed."""
        reply.error = str(error)
        self._count_failure(error)
        self.dialogue.failures += 1
        if self.dialogue.failures > self.failures_allowed:
            await self._take_leave(reply, self.give_up)
        elif reply.number and self.apology is not None:
            await self._try(self.utter(reply, self.apology))
        await self._try(self.said(reply))

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something without which the call can go on."""
        try:
            await work
        except ServiceError as error:
            self._count_failure(error)

    async def _open(self) -> None:
        try:
            await self.open()
        except ServiceError as error:
            await self._in_turn(partial(self._fail, error=error))

    async def _warm_up(self) -> None:
        await self._try(self.prewarm())

    def _count_failure(self, error: ServiceError) -> None:
        self.stream.count_failure(error.service)
        self._log_failure(error, **self._ids())

    def _log_failure(self, error: ServiceError, **ids: str) -> None:
        log.warning("service failed", service=error.service, reason=str(error), **ids)

    def _ids(self) -> dict[str, str]:
        return {
            "call": self.stream.call_id,
            "stream": self.stream.stream_id,
            "handler": type(self).__qualname__,
        }

    # Settings.

    def _check_settings(self) -> None:
        kind = type(self).__qualname__
        if self.barge_in not in get_args(BargeIn):
            allowed = ", ".join(map(repr, get_args(BargeIn)))
            raise ValueError(f"{kind}.barge_in must be one of {allowed}, not {self.barge_in!r}")
        if self.give_up != HANG_UP and self.give_up not in self.transfers:
            allowed = ", ".join(map(repr, (HANG_UP, *self.transfers)))
            raise ValueError(f"{kind}.give_up must be one of {allowed}, not {self.give_up!r}")
        for name in ("silence_prompts", "failures_allowed", "hold_after"):
            if getattr(self, name) < 0:
                raise ValueError(f"{kind}.{name} must be 0 or more, not {getattr(self, name)!r}")

    async def _make_detector(self) -> VoiceDetector:
        # A function that is a class attribute is taken as it is, not as a method.
        make = inspect.getattr_static(self, "voice_detector")
        return await make_detector(make.__func__ if isinstance(make, staticmethod) else make)

    def _tool_functions(self) -> list[Tool]:
        functions = marked_tools(self)
        for function in functions:
            name = getattr(function, "__name__", "")
            if hasattr(Agent, name):
                raise TypeError(
                    f"{type(self).__qualname__}.{name} is a tool, and agents have a method of that "
                    f"name: call it otherwise, and give it the name by @tool(name={name!r})"
                )
        return [*functions, *self.tools, *self._departure.tools.values()]
