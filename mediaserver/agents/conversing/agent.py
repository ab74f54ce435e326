"""What all voice agents share: settings, turns, barge-in, tools, failures, reports."""

from __future__ import annotations

import asyncio
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar

import structlog

from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.configured import Configured
from mediaserver.agents.conversing.conversation import Conversation
from mediaserver.agents.conversing.delegation import Delegation
from mediaserver.agents.conversing.departure import HANG_UP, Departure
from mediaserver.agents.conversing.dialogue import Dialogue
from mediaserver.agents.conversing.keys import Keys
from mediaserver.agents.conversing.listening import LAST_WORD, BargeIn, Listener, Utterance
from mediaserver.agents.conversing.readiness import kept_ready, make_detector
from mediaserver.agents.conversing.reply import Reply, Work
from mediaserver.agents.conversing.tools import Tool, Toolbox, marked_tools
from mediaserver.agents.services import (
    Checked,
    LanguageModel,
    Prewarmed,
    ServiceError,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
)
from mediaserver.agents.turns import TurnSettings, TurnTaker, VoiceDetector, default_detector
from mediaserver.agents.turns.words import words_of
from mediaserver.call import Frame, StreamEndedError, Turn
from mediaserver.containment import leaves
from mediaserver.handler import Handler
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.agents")

ROUNDS = 10
"""Number of times that the model may ask for tools in one turn."""

LONGEST_WAIT = 60.0
"""Seconds for which `Agent.say` waits for the caller, if a turn may be of any length."""

INAUDIBLE = "[inaudible]"
"""Stands for the caller's words if they interrupted the agent and were not understood."""


_using: ContextVar[Reply | None] = ContextVar("_using", default=None)
"""The reply that uses the tool that runs."""


class Agent(Configured, Handler, ABC):
    """A handler that converses. `VoiceAgent` and `RealtimeAgent` are the two kinds.

    Its settings are attributes of the class, for subclasses to set, and keyword arguments, for
    routes to set.

    Attributes:
        conversation: what both sides have said so far, as the caller heard it.

    Raises:
        TypeError: if a setting does not exist, or has no value.
        ValueError: if the value of a setting is not allowed.

    """

    prompt: str = ""
    """The instructions for the model."""
    greeting: str | None = None
    """The first words of the agent; None lets the caller speak first."""
    resumption: str | None = "Sorry, the line was interrupted. Please go on."
    """Said in place of the greeting if an earlier stream of the call was lost (`Stream.previous`);
    None says nothing. The conversation then begins with the turns that are known of it."""
    tools: Sequence[Callable[..., Any]] = ()
    """Functions that the model may use, besides the methods that are marked with `tool`."""
    transfers: Mapping[str, str] = {}
    """Where the model may transfer the call: names, and the URLs of answer XML."""
    can_hang_up: bool = True
    """Whether the model may end the call."""
    barge_in: BargeIn = "decide"
    """What the caller's voice does while the agent speaks: see `BargeIn`."""
    turn_taking: TurnSettings = TurnSettings()
    """When the caller counts as speaking, as interrupting and as having finished."""
    voice_detector: Callable[[], VoiceDetector] = staticmethod(default_detector)
    """Makes the detector that tells speech from silence, one for each call."""
    silence_prompt: str | None = "Are you still there?"
    """Said when both sides have been silent for ``turn_taking.silence``; None says nothing."""
    silence_prompts: int = 2
    """Number of silence prompts without an answer after which the agent hangs up."""
    goodbye: str | None = "Goodbye."
    """Said before the agent hangs up, unless it has just said something else; None says nothing."""
    apology: str | None = "Sorry, something went wrong. Please say that again."
    """Said when a service failed; None says nothing."""
    failures_allowed: int = 2
    """Number of turns in a row that may fail; at the next one the agent gives up."""
    give_up: str = HANG_UP
    """What the agent does when it gives up: ``hang_up``, or the name of a transfer."""
    hold_after: float = 0.8
    """Seconds that a tool runs before its hold phrase is said."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
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
            clock=lambda: self.stream.clock(),
            still_owed=self.still_owed,
        )
        self._detector: VoiceDetector | None = None
        self._running: dict[Reply, asyncio.Task[None]] = {}
        # What the agent wants to say of its own accord, until it begins.
        self._waiting: dict[Reply, asyncio.Future[None]] = {}
        # What the caller says, by the tasks that follow it.
        self._followed: dict[asyncio.Task[Any] | None, Utterance] = {}
        self._last_turn: Turn | None = None
        self._speech_seconds = 0.0
        self._keys = Keys(self._take_keys)
        self._key_at = 0.0

    # What each kind of agent implements.

    async def prewarm(self) -> None:
        """Get the services ready. Called when the call is answered, and when its stream starts."""

    def use_sessions(self) -> None:
        """Let the services' sessions hear and speak. Called before any hook of the stream."""

    async def open(self) -> None:
        """Do what must precede the greeting. Called when the stream has started."""

    @abstractmethod
    async def hear(self, utterance: Utterance) -> str | None:
        """Follow an utterance from its beginning, and return the words.

        Runs in a task of its own. Pass transcripts to ``self.listener.understood``: they may show
        whether the utterance is speech or noise.

        Returns:
            The words. Empty if there were none: the agent does not answer then. None if they are
            not known, because the model itself has heard them.

        Raises:
            ServiceError: the service failed.

        """

    @abstractmethod
    async def respond(self, reply: Reply) -> None:
        """Answer the conversation; return when the caller has heard the answer.

        Cancelled at an interruption, after `settle`. Sets the times and the cost of the reply.

        Raises:
            ServiceError: a service failed.

        """

    @abstractmethod
    async def utter(self, reply: Reply, text: str) -> None:
        """Say `text`, word for word, as a part of `reply`; return when the caller has heard it.

        Raises:
            ServiceError: a service failed.

        """

    @abstractmethod
    def settle(self, reply: Reply) -> None:
        """Keep in the conversation what the caller heard of `reply`, and set ``reply.heard``.

        Called once for each reply: when the caller has heard all of it, right after playback was
        interrupted, or at the end of the call.
        """

    @abstractmethod
    def is_spoken(self, reply: Reply) -> bool:
        """Tell whether all speech of `reply` was given to the stream, and no more will come."""

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
        """Wait until the caller has heard what there is of `reply`. Nothing will follow it.

        Raises:
            ServiceError: a service failed.

        """

    async def close(self) -> None:
        """Close what is open. Called when the stream and all tasks of the agent have ended."""

    # Hooks for subclasses.

    async def on_transcript(self, transcript: Transcript) -> None:
        """The caller was understood; the transcript may be partial."""

    async def on_barge_in(self, confirmed: bool) -> None:
        """There was sound from the caller while the agent spoke; `confirmed` if it was speech."""

    async def on_turn(self, turn: Turn) -> None:
        """A turn has ended."""

    # The worker.

    _services: ClassVar[Sequence[str]] = ()
    """The names of the settings that are services. The worker prewarms and closes these, and
    others that can be checked or prewarmed."""

    @classmethod
    @asynccontextmanager
    async def serving(cls, settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, str]]:
        """Load the voice detector, check and prewarm the services; close them in the end.

        A worker also starts if a service cannot be reached; it is not ready until it can.

        Raises:
            HandlerError: a service cannot work as it is set up, such as without a key.
            DetectorUnavailableError: the detector's packages are missing.
            ImportError: a service's packages are missing.

        """
        given = {name: settings.get(name, getattr(cls, name, None)) for name in cls.setting_names()}
        services = (
            value
            for name, value in given.items()
            if name in cls._services
            or (isinstance(value, Checked | Prewarmed) and not isinstance(value, type))
        )
        detector = settings.get("voice_detector")
        if detector is None:
            detector = inspect.getattr_static(cls, "voice_detector")
        await make_detector(detector.__func__ if isinstance(detector, staticmethod) else detector)
        async with kept_ready(each for each in services if each is not None) as unready:
            yield unready

    # For applications.

    async def say(self, text: str, *, at_once: bool = False) -> None:
        """Say something of the agent's own accord, after what it is saying now.

        Returns when the caller has heard or interrupted it. If a tool calls this, the text becomes
        a part of the reply that uses the tool.

        Args:
            text: the words.
            at_once: whether to say it even if the caller is speaking. If not, it waits until the
                caller has finished and was answered, for ``turn_taking.longest`` at most.

        Raises:
            StreamEndedError: if the stream has ended, or ends before it can be said.

        """
        reply = self.dialogue.current
        if reply is not None and reply.using_tools:
            await self._try(self.utter(reply, text))
            return
        utterance = self._followed.get(asyncio.current_task())
        if utterance is not None and not at_once:
            # It is called by `on_transcript`, for which the dialogue waits.
            await utterance.over(self.turn_taking.longest or LONGEST_WAIT)
            at_once = True
        await self._in_turn(partial(self.utter, text=text), at_once=at_once)

    async def delegate(
        self,
        task: str,
        model: LanguageModel,
        *,
        prompt: str = "",
        tools: Sequence[Callable[..., Any]] = (),
        rounds: int = ROUNDS,
        patience: float = 20.0,
    ) -> str:
        """Have another language model work on a task, and return its answer. For use in a tool.

        The model is told what both sides have said so far, and the task. Nothing of its answer is
        said: it is for the agent's own model. What it does and costs belongs to the turn.

        Declare the model as a setting of the agent (``thinker: LanguageModel = …``); then it is
        checked when the server starts, and closed when it stops.

        Args:
            task: what to do, as the agent's model says it.
            model: the other model.
            prompt: its instructions.
            tools: async functions that it may use; the agent's own tools are not among them.
            rounds: the number of times that it may be asked.
            patience: seconds to wait for its first piece, and from one piece to the next.

        Raises:
            RuntimeError: it is not a tool that calls this.
            ServiceError: the model failed, or asked for tools in each round.
            ToolError: one of `tools` cannot be a tool.

        """
        reply = _using.get()
        if reply is None:
            raise RuntimeError("delegate() is for the tools of an agent")
        toolbox = Toolbox(*tools)
        said = (each for each in self.conversation.messages if isinstance(each, Text))
        work = Delegation(
            model,
            toolbox.specs,
            use=partial(self.use_tool, reply, of=toolbox),
            begin_step=lambda: reply.begin_step("model", model, self.stream.clock()),
            spent=reply.spend,
            clock=self.stream.clock,
            patience=patience,
        )
        try:
            return await work.answer([Text("system", prompt), *said, Text("user", task)], rounds)
        except ServiceError as error:
            self._count_failure(error)
            raise

    def interrupt(self) -> None:
        """Stop what the agent says or is about to say, and wait for the caller."""
        self.stream.interrupt()
        self.dialogue.give_up()
        self._forget_waiting()

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
        if stream.previous is not None:
            self.conversation.recall(stream.previous.turns)
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
            left=self._left,
        )
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = CallTasks(group, f"call {stream.call_id}", self._until_end)
                self.use_sessions()
                await super().__call__(stream)
        except BaseExceptionGroup as group:
            error = next(leaves(group))
            raise error from error.__cause__
        finally:
            if not self.dialogue.ended:
                # It was not the stream's end that ended it.
                self._end()
                await self.close()

    async def on_start(self) -> None:
        """Greet, unless the caller has spoken first; return when the greeting was heard.

        If an earlier stream of the call was lost, the agent says `resumption` instead.
        """
        await asyncio.wait([self.start(self._open(), "opens")])
        tasks: list[asyncio.Task[None]] = []
        dialogue = self.dialogue
        words = self.greeting if self.stream.previous is None else self.resumption
        if words is not None and dialogue.current is None and dialogue.owed is None:
            greeting = self._greet(words)
            if greeting in self._running:
                tasks.append(self._running[greeting])
        # The greeting comes first.
        await asyncio.wait([*tasks, self.start(self._warm_up(), "warms up")])

    async def on_audio(self, frame: Frame) -> None:
        """Listen to the caller, and to nobody else whom the stream carries."""
        if frame.track == "inbound":
            self.listener.hear(frame)

    async def on_dtmf(self, digit: str) -> None:
        """Fall silent, and treat the key as something the caller says."""
        if self.dialogue.ended:
            return
        self._give_way()
        self.dialogue.is_there()
        self.dialogue.presses()
        self.listener.taker.reset_silence()
        self._key_at = self.stream.clock()
        self._keys.press(digit)

    async def on_say(self, text: str) -> None:
        """Say what whoever operates the server wants the caller to hear, as `say` does."""
        await self.say(text)

    async def on_clear(self) -> None:
        """Fall silent and wait for the caller, as whoever operates the server wants."""
        self.interrupt()

    async def on_end(self) -> None:
        """End with the stream."""
        self._end()
        await self._tasks.cancel()
        await self.close()
        if self._last_turn is not None:
            # The stream, having ended, brings it to no hook any more.
            await self.on_turn(self._last_turn)

    def _greet(self, greeting: str) -> Reply:
        reply = Reply(0, since=self._started_at, work=partial(self.utter, text=greeting))
        self.dialogue.owe(reply)
        return reply

    def start(
        self, work: Coroutine[Any, Any, None], name: str, *, finishes: bool = False
    ) -> asyncio.Task[None]:
        """Start a task of this call. It is cancelled when the stream ends.

        An exception in it ends the call.

        Args:
            work: what the task does.
            name: its name in logs.
            finishes: whether it may finish after the end of the stream, as a tool should, within
                the server's grace.

        Raises:
            StreamEndedError: if the stream has ended.

        """
        return self._tasks.start(work, name, finishes=finishes)

    # Turns.

    def _utterance_started(self, utterance: Utterance) -> None:
        self.stream.decided("caller speaks", over_agent=utterance.over_agent)
        self.dialogue.speaks(utterance)
        self.start(self._follow(utterance), "hears")

    def _utterance_dropped(self, utterance: Utterance) -> None:
        self.stream.decided("taken for noise")
        self.dialogue.go_on()

    async def _follow(self, utterance: Utterance) -> None:
        """Follow an utterance to its end, and answer it."""
        text: str | None = ""
        failure: ServiceError | None = None
        task = asyncio.current_task()
        self._followed[task] = utterance
        try:
            try:
                text = await self.hear(utterance)
            except ServiceError as error:
                failure = error
            async for _ in utterance:
                pass  # the service finished before the caller did
        finally:
            del self._followed[task]
            self.dialogue.understood(utterance)
        self._speech_seconds += utterance.seconds_transcribed
        self.stream.decided("understood", dropped=utterance.dropped, words=text)
        wordless = text is not None and not words_of(text)
        if not wordless:
            self.dialogue.is_there()
        if failure is not None and not utterance.dropped:
            self.dialogue.is_there()
            self._answer("", utterance, partial(self._fail, error=failure))
            return
        if failure is not None:
            self._count_failure(failure)
        if utterance.dropped or wordless:
            self.dialogue.go_on()
            if (
                utterance.stopped_agent
                and self.dialogue.current is None
                and not self.dialogue.hearing
            ):
                # Otherwise the agent would be silent, and the caller would not know why.
                unheard = self.stream.previous is None and not self.conversation.messages
                if self.greeting is not None and unheard:
                    self._greet(self.greeting)
                else:
                    self._answer(INAUDIBLE, utterance, self.respond)
        else:
            self._answer(text or "", utterance, self.respond)

    def _answer(
        self,
        text: str,
        utterance: Utterance | None,
        work: Work,
        since: float | None = None,
    ) -> None:
        """Answer what the caller said, as soon as nothing is in the way."""
        if self.leaving:
            return
        # Whoever answers early lets the agent say its last word.
        early = utterance is not None and utterance.answers and self._left() < LAST_WORD
        if self.dialogue.current is not None and self.barge_in != "notify" and not early:
            self._give_way()
        clock = self.stream.clock()
        reply = Reply(None, since=clock if since is None else since, caller=text, work=work)
        if utterance is not None:
            self._time(reply, text, utterance)
        if text:
            self.keep_words(text)
        self.dialogue.owe(reply)

    def _time(self, reply: Reply, text: str, utterance: Utterance) -> None:
        """Set the times of a reply to what the caller said, which is understood now."""
        clock = self.stream.clock()
        reply.since = utterance.ended_at or utterance.finished_at or clock
        reply.turn_ended_at = utterance.finished_at
        reply.transcribed_at = clock if text else None
        if utterance.transcription is not None:
            reply.steps.append(utterance.transcription)

    def _left(self) -> float:
        """Return the seconds of speech that are left to say; infinite while more may come."""
        reply = self.dialogue.current
        if reply is not None and (reply.using_tools or not self.is_spoken(reply)):
            return math.inf
        return self.stream.unheard

    def _give_way(self) -> None:
        """Stop for the caller."""
        self.stream.decided("gives way")
        self.stream.interrupt()
        self.dialogue.give_way()

    async def _in_turn(self, work: Work, *, at_once: bool = False) -> None:
        """Give a reply of the agent's own accord, in its turn; return when it is over."""
        if self.dialogue.ended:
            raise StreamEndedError("the stream has ended: nothing more is said")
        reply = Reply(None, since=self.stream.clock(), work=work)
        reply.at_once = at_once
        begun = self._waiting[reply] = asyncio.get_running_loop().create_future()
        try:
            self.dialogue.add(reply)
            await asyncio.wait([begun], timeout=self.turn_taking.longest or LONGEST_WAIT)
            reply.at_once = True
            self.dialogue.go_on()
            await asyncio.wait([begun])
        finally:
            del self._waiting[reply]
            self.dialogue.withdraw(reply)
        if reply in self._running:
            await asyncio.wait([self._running[reply]])
        elif self.stream.ended and not reply.settled:
            raise StreamEndedError("the stream has ended: something was not said")

    def _forget_waiting(self) -> None:
        """Let go of those who wait to say something."""
        for begun in self._waiting.values():
            if not begun.done():
                begun.set_result(None)

    # What the dialogue decides.

    def _begin_reply(self, reply: Reply) -> None:
        name = "speaks"
        if reply.number is not None:
            name = f"turn {reply.number}"
            reply.speech_seconds += self._speech_seconds
            self._speech_seconds = 0.0
        self.stream.decided("reply begins", turn=reply.number)
        task = self.start(self._run_reply(reply), name)
        self._running[reply] = task
        if reply in self._waiting:
            self._waiting[reply].set_result(None)
        task.add_done_callback(lambda _: self._running.pop(reply))

    def _cancel_reply(self, reply: Reply) -> None:
        self.stream.decided("reply cancelled", turn=reply.number)
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
        """Take no more input, and settle the reply."""
        self._tasks.end()
        self.listener.end()
        self._keys.forget()
        self.dialogue.end()
        self._forget_waiting()

    # Barge-in, silence and keys.

    def _barged_in(self, confirmed: bool) -> None:
        self.stream.count_barge_in(confirmed)
        self.stream.decided("barge-in", confirmed=confirmed)
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

    # Tools.

    def start_tool(
        self, reply: Reply, call: ToolCall, use: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[None]:
        """Start a tool for `reply`; `use` puts its result into the conversation.

        It finishes even if the caller interrupts the reply. Its result is then told as soon as the
        caller and the agent have finished.
        """
        self.dialogue.tool_begins()
        return self.start(self._finish_tool(reply, use), f"tool {call.name}", finishes=True)

    async def use_tool(
        self, reply: Reply, call: ToolCall, *, of: Toolbox | None = None
    ) -> ToolResult:
        """Use a tool as a step of `reply`, and return its result for the model.

        Args:
            reply: the reply.
            call: what the model asks for.
            of: the toolbox that has the tool; the agent's own if None.

        """
        step = reply.begin_step("tool", call.name, self.stream.clock())
        step.arguments = call.arguments
        # A tool may be used several times at once.
        told = {"tool": call.name, "id": call.id}
        self.stream.decided("tool begins", **told, words=call.arguments)
        using = _using.set(reply)
        try:
            with step.running(self.stream.clock):
                result = await (self.toolbox if of is None else of).use(call)
        except BaseException:
            self.stream.decided("tool ends", **told, error="cancelled", words="it was given up")
            raise
        finally:
            _using.reset(using)
        step.result, step.error = result.text, result.error
        self.stream.decided("tool ends", **told, error=result.error, words=result.text)
        return result

    def repeated(self, reply: Reply, calls: Sequence[ToolCall]) -> ToolCall | None:
        """Return a call of `calls` that was refused before in this reply, or None."""
        before = frozenset(reply.refused)
        refused = [call for call in calls if self.toolbox.refusal(call) is not None]
        reply.refused.update((call.name, call.arguments) for call in refused)
        return next((call for call in refused if (call.name, call.arguments) in before), None)

    async def _finish_tool(
        self, reply: Reply, use: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        try:
            await use()
        finally:
            if not self.leaving:
                self.dialogue.tool_ends(reply)

    # Ending the call.

    async def closing_tool(self, reply: Reply, call: ToolCall) -> ToolResult:
        """Use `hang_up` or `transfer`, after the caller has heard all that was said.

        If the agent has said nothing in this reply, it says goodbye before it hangs up.
        """
        if call.name == HANG_UP and not reply.began and self.goodbye is not None:
            await self._try(self.utter(reply, self.goodbye))
        self.dialogue.close(reply)
        try:
            return await self.use_tool(reply, call)
        finally:
            if not self.leaving:
                self.dialogue.reopen(reply)

    @property
    def leaving(self) -> bool:
        """Whether the agent has hung up or transferred the call."""
        return self._departure.done

    def is_closing(self, call: ToolCall) -> bool:
        """Return whether a call uses a tool that ends the agent's part of the call."""
        return call.name in self._departure.tools

    async def _take_leave(self, reply: Reply, to: str = HANG_UP) -> None:
        """Say goodbye and hang up, or transfer the call without a word."""
        if to == HANG_UP and self.goodbye is not None:
            await self._try(self.utter(reply, self.goodbye))
        self.dialogue.close(reply)
        await self._departure.leave(to)

    # Failures.

    async def _fail(self, reply: Reply, *, error: ServiceError) -> None:
        """Apologise for a reply that failed, or give up after too many of them."""
        reply.error, reply.failure = str(error), error.failure
        self._count_failure(error)
        self.dialogue.failures += 1
        if self.dialogue.failures > self.failures_allowed:
            await self._take_leave(reply, self.give_up)
        elif reply.number and self.apology is not None:
            await self._try(self.utter(reply, self.apology))
        await self._try(self.said(reply))

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something whose failure is counted, and no more."""
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
        self.stream.decided("service failed", failure=error.failure, words=error.reason)
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

    def wrong_values(self) -> Iterator[str]:
        """Yield a line for each value that is out of range."""
        kind = type(self).__qualname__
        if self.give_up != HANG_UP and self.give_up not in self.transfers:
            allowed = ", ".join(map(repr, (HANG_UP, *self.transfers)))
            yield f"{kind}.give_up must be one of {allowed}, not {self.give_up!r}"
        for name in ("silence_prompts", "failures_allowed", "hold_after"):
            if getattr(self, name) < 0:
                yield f"{kind}.{name} must be 0 or more, not {getattr(self, name)!r}"

    async def _make_detector(self) -> VoiceDetector:
        # A function that is an attribute of the class must not become a method.
        make = inspect.getattr_static(self, "voice_detector")
        return await make_detector(make.__func__ if isinstance(make, staticmethod) else make)

    def _tool_functions(self) -> list[Tool]:
        functions = marked_tools(self)
        for function in functions:
            name = getattr(function, "__name__", "")
            if hasattr(Agent, name):
                raise TypeError(
                    f"{type(self).__qualname__}.{name} is a tool, and agents have a method of that "
                    f"name: rename it, and write @tool(name={name!r})"
                )
        return [*functions, *self.tools, *self._departure.tools.values()]
