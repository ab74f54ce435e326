"""An agent whose model hears and speaks by itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final

import structlog

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.conversing.agent import ROUNDS, Agent
from mediaserver.agents.conversing.conversation import NOT_BEGUN, RUNNING, CallerSaying
from mediaserver.agents.conversing.expected_response import ExpectedResponse
from mediaserver.agents.conversing.kept_session import REALTIME_MODEL, KeptSession
from mediaserver.agents.conversing.listening import Utterance
from mediaserver.agents.conversing.relaying import Portion, Relay
from mediaserver.agents.conversing.reply import Reply
from mediaserver.agents.conversing.served import broken
from mediaserver.agents.conversing.unanswered_speech import UnansweredSpeech
from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    NoAnswerError,
    RealtimeEvent,
    RealtimeModel,
    RealtimeSession,
    ResponseDone,
    ServiceError,
    Speech,
    SpokenText,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    Transcribing,
    Transcript,
)
from mediaserver.agents.turns.words import words_of
from mediaserver.call import Frame, StreamEndedError


log = structlog.get_logger("mediaserver.agents")

SAY = "Say to the caller exactly this, in these words, and nothing else: {text}"
"""The instructions for a text that the agent says of its own accord."""

_REMEMBERED_TURNS = 64
"""Number of the latest turns whose transcript may still come."""


class _Speech:
    """What the caller says while the model's side takes the turns, until it has ended."""

    dropped: Final = False


class RealtimeAgent(Agent):
    """Converses through a `RealtimeModel`, which hears the caller and speaks by itself.

    The agent takes the turns, as `VoiceAgent` does: it passes speech to the model, from the first
    sound on, and asks for an answer when the caller has finished. So a cough neither stops the
    model nor makes it speak, and silence costs nothing. If the model's side is set to take the
    turns, it hears everything, interrupts the agent as soon as it reports that the caller speaks,
    and deals with silence: ``barge_in``, ``turn_taking`` and ``silence_prompt`` have no effect.

    The model's voice says the greeting, the apology and the like. If the connection to the model
    is lost, a new session is told the conversation so far, and continues it.
    """

    model: RealtimeModel
    """Hears, thinks and speaks."""

    _services: ClassVar[Sequence[str]] = ("model",)

    # The format of the latest call: the next one most likely has it too.
    _usual_format: ClassVar[AudioFormat] = MULAW_8K

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._kept = KeptSession(
            self.model,
            self.conversation,
            lambda: (self.prompt, self.toolbox.specs),
            take=self._take,
            lost=self._session_lost,
            connecting=self._typed_is_told,
            ended=lambda: self.dialogue.ended,
        )
        self._heard = UnansweredSpeech()
        # What plays the current reply, and the responses that it waits for.
        self._relay: Relay | None = None
        self._awaited: deque[ExpectedResponse] = deque()
        # Words of the caller that the session has not heard and was not told yet: keys, mostly.
        self._typed: deque[str] = deque()
        # Turns whose words are not known yet, the oldest first.
        self._untold: deque[tuple[Reply, CallerSaying]] = deque(maxlen=_REMEMBERED_TURNS)
        # The cost of responses that no reply waits for.
        self._late = Tokens(0, 0)
        self._taking_back: asyncio.Task[None] | None = None
        # Why there is no session, or why the latest was lost; and whether that is counted.
        self._lost: ServiceError | None = None
        self._counted = False
        # The latest response that nobody asked for, if the model's side takes the turns.
        self._spontaneous: ExpectedResponse | None = None
        self._speech = _Speech()

    # The connection.

    async def prewarm(self) -> None:
        """Open the session, so that the greeting does not wait for it."""
        if not hasattr(self, "stream"):
            with suppress(StreamEndedError):
                await self._kept.prepare(self._usual_format)

    async def open(self) -> None:
        """Begin to take what the model says."""
        RealtimeAgent._usual_format = self.stream.format
        await self._kept.open(self._tasks, self.stream.format)

    async def close(self) -> None:
        """Close the session."""
        await self._kept.close()

    async def on_stop(self, reason: str) -> None:
        """Close the session. Also called if the stream never came."""
        await self.close()

    def _typed_is_told(self) -> None:
        # It is in the conversation, which every new session is told.
        self._typed.clear()

    def _session_lost(self, lost: ServiceError) -> None:
        """Give up what the session was asked for, and open another one."""
        self._lost, self._counted = lost, False
        self._untold.clear()
        self.dialogue.understood(self._speech)
        current = self.dialogue.current
        if self._relay is not None and current is not None and not current.began:
            # The next session must not be told words that nobody heard.
            self._relay.settle()
            self._relay = None
        awaited, self._awaited = self._awaited, deque()
        for response in awaited:
            response.step.end(self.stream.clock())
            response.fail(lost)
        if not awaited:
            self._count_failure(lost)
        self.start(self._reconnect(), "connects")

    def _count_failure(self, error: ServiceError) -> None:
        """Count a failure; a session's loss only once, however many replies wait for it."""
        if error is self._lost:
            if self._counted:
                return
            self._counted = True
        super()._count_failure(error)

    async def _reconnect(self) -> None:
        while not self.leaving:
            try:
                await self._kept.ready()
            except ServiceError as error:
                if not self._kept.takes_turns:
                    # The next attempt is made when the caller or the agent says something.
                    if error is not self._lost:
                        self._lost, self._counted = error, False
                    self._count_failure(error)
                    return
                # Only the model would notice that the caller speaks, so try on.
                await self._in_turn(partial(self._fail, error=error))
            else:
                return

    # What the caller does.

    async def on_audio(self, frame: Frame) -> None:
        """Listen to the caller, or let the model listen."""
        if not self._kept.takes_turns:
            await super().on_audio(frame)
        elif self._kept.current is not None and frame.track == "inbound":
            await self._kept.do(self._kept.current, self._kept.current.hear(frame))

    async def hear(self, utterance: Utterance) -> str | None:
        """Let the model hear an utterance as soon as it is known to be speech."""
        held: list[Frame] = []
        async for frame in utterance:
            held.append(frame)
            if utterance.confirmed:
                await self._tell(held)
        reply = self.dialogue.current
        if utterance.answers and not (reply is not None and reply.leaves):
            # Too short to interrupt, and long enough to answer an agent that has finished.
            self.listener.accept(utterance)
        if not utterance.dropped:
            await self._tell(held)
            return None
        return await self._understand(utterance, held)

    async def _tell(self, frames: list[Frame]) -> None:
        self._heard.add(frames)
        frames.clear()
        if self._kept.current is not None:
            await self._kept.do(self._kept.current, self._heard.tell(self._kept.current))

    async def _understand(self, utterance: Utterance, frames: Sequence[Frame]) -> str:
        """Return the words of an utterance too short to interrupt by its length, such as "Stop!".

        If they mean something, they interrupt the agent.
        """
        session: object = self._kept.current
        over = utterance.finished_at
        if over is None or over - utterance.started_at < self.turn_taking.drop_after:
            return ""  # a noise, or the end of the call
        if not utterance.over_agent or not isinstance(session, Transcribing):
            return ""
        if self._heard.frames:
            return ""  # the session has heard speech that it does not know to have ended
        try:
            understood = await session.transcribe(frames)
        except ServiceError:
            raise
        except Exception as error:
            raise broken(REALTIME_MODEL, error) from error
        utterance.seconds_transcribed += understood.seconds
        if understood.tokens is not None:
            self._late = self._late + understood.tokens
        if words_of(understood.text):
            self.listener.understood(utterance, understood.text, final=True)
            await self.on_transcript(
                Transcript(understood.text, final=True, seconds=understood.seconds)
            )
        return understood.text

    def keep_words(self, text: str) -> None:
        """Keep the words in the conversation, and for the model, which has not heard them."""
        super().keep_words(text)
        self._typed.append(text)

    def still_owed(self, reply: Reply) -> bool:
        """Return whether the caller has heard nothing of the answer to what the model heard."""
        if super().still_owed(reply):
            return True
        return bool(reply.number) and not reply.began and not self._kept.takes_turns

    # What the agent does.

    async def respond(self, reply: Reply) -> None:
        """Let the model answer and use tools, until the caller has heard all of it."""
        heard = self._heard
        hearing = self.conversation.listen() if heard.frames else None
        self._spend(reply)
        await self._converse(reply, partial(self._ask, reply=reply, heard=heard, hearing=hearing))

    async def utter(self, reply: Reply, text: str) -> None:
        """Let the model say `text`, word for word."""
        task = asyncio.current_task()
        try:
            await self._converse(reply, partial(self._say, reply=reply, text=text))
        except asyncio.CancelledError:
            # The reply was interrupted but this task was not cancelled: we are in a tool: go on.
            if task is None or task.cancelling() or not reply.settled:
                raise

    async def said(self, reply: Reply) -> None:
        """Wait until the caller has heard what there is of `reply`."""
        if self._relay is not None:
            await self._relay.heard()

    async def _converse(
        self, reply: Reply, ask: Callable[[RealtimeSession], Awaitable[ExpectedResponse | None]]
    ) -> None:
        """Ask a session for a response, and follow it to its end.

        If the session is lost before the caller heard anything, the next one is asked.
        """
        for last in (False, True):
            session = await self._ready()
            try:
                response = await ask(session)
                if response is not None:
                    await self._follow_through(reply, response)
                return
            except ServiceError as error:
                if last or reply.began or session is self._kept.current:
                    raise
                self._count_failure(error)

    def is_spoken(self, reply: Reply) -> bool:
        """Tell whether all speech of `reply` was given to the stream, and no more will come."""
        return self._relay is not None and self._relay.ending

    def settle(self, reply: Reply) -> None:
        """Keep what the caller heard of `reply`, and let the model forget the rest."""
        relay, self._relay = self._relay, None
        awaited, self._awaited = self._awaited, deque()
        for response in awaited:
            response.step.end(self.stream.clock())
            response.done.cancel()
        if relay is None:
            return
        reply.heard, portions = relay.settle()
        if reply.interrupted and self._kept.current is not None and not self.dialogue.ended:
            self._taking_back = self.start(
                self._take_back(self._kept.current, portions, cancel=bool(awaited)), "takes back"
            )

    async def _take_back(
        self, session: RealtimeSession, portions: list[Portion], *, cancel: bool
    ) -> None:
        # The session may be making the next response when this one is complete.
        if cancel:
            await self._kept.do(session, session.cancel())
        for portion in portions:
            await self._kept.do(session, session.truncate(portion.item_id, portion.seconds))

    async def _ready(self) -> RealtimeSession:
        if self._taking_back is not None:
            await asyncio.wait([self._taking_back])
        return await self._kept.ready()

    async def _ask(
        self,
        session: RealtimeSession,
        *,
        reply: Reply,
        heard: UnansweredSpeech,
        hearing: CallerSaying | None,
    ) -> ExpectedResponse | None:
        """Ask for the answer to what the caller said or pressed."""
        await self._tell_typed(session)
        speech = hearing is not None and not hearing.text
        if self._heard is heard:
            self._heard = UnansweredSpeech()
        if speech and session.takes_turns:
            # The session opened after the caller spoke: it hears that now, and answers by itself.
            reply.number = None
            await self._kept.do(session, heard.tell(session))
            return None
        response = self._expect(reply, session)
        self.dialogue.asks(reply)
        if speech:
            assert hearing is not None
            await self._kept.do(session, heard.tell(session))
            self._untold.append((reply, hearing))
            await self._kept.do(session, session.end_turn())
        else:
            await self._kept.do(session, session.respond())
        return response

    async def _tell_typed(self, session: RealtimeSession) -> None:
        while self._typed:
            await self._kept.do(session, session.tell(Text("user", self._typed.popleft())))

    async def _say(self, session: RealtimeSession, *, reply: Reply, text: str) -> ExpectedResponse:
        """Ask the model to say `text`."""
        response = self._expect(reply, session, answers=False)
        await self._kept.do(session, session.say(SAY.format(text=text)))
        return response

    def _expect(
        self, reply: Reply, session: RealtimeSession | None, *, answers: bool = True
    ) -> ExpectedResponse:
        """Expect a response from `session`, which is about to be asked for it.

        Raises:
            ServiceError: the session was lost meanwhile.

        """
        if session is not self._kept.current:
            raise self._lost or ServiceError(REALTIME_MODEL, "the session was lost")
        if self._relay is None:
            self._relay = Relay(
                self.stream,
                saying=self.conversation.say,
                start=self.start,
                began=lambda playback: self.dialogue.plays(reply, playback, self.stream.clock()),
            )
        step = reply.begin_step("model", self.model, self.stream.clock())
        response = ExpectedResponse(reply, self._relay, step, answers=answers)
        self._awaited.append(response)
        return response

    async def _follow_through(self, reply: Reply, response: ExpectedResponse) -> None:
        """Wait for a response, use its tools and ask for the next, until all of it was heard.

        An answer with nothing in it is asked for once more.
        """
        again = False
        for _ in range(ROUNDS):
            try:
                await response.done
                if response.tools:
                    await self._hold(reply, response)
            finally:
                if response.tools:
                    reply.using_tools = False
            calls = [*response.tools.values(), *response.closing]
            if repeated := self.repeated(reply, calls):
                raise ServiceError(
                    REALTIME_MODEL, f"it repeated a call of {repeated.name} that was refused"
                )
            if response.empty and response.answers and not (again and reply.began):
                error = NoAnswerError(
                    REALTIME_MODEL, "its response had no speech and no tool calls"
                )
                if again:
                    raise error
                again = True
                log.info("model asked once more", reason=str(error), call=self.stream.call_id)
            elif not response.tools and not response.closing:
                await response.relay.heard()
                return
            if response.closing:
                await response.relay.heard()
                for call in response.closing:
                    result = await self.closing_tool(reply, call)
                    await self._returned(call, result, self._kept.current)
                    if self.leaving:
                        return
                reply.leaves = False  # that was refused
            session = await self._ready()
            response = self._expect(reply, session)
            self.dialogue.asks(reply)
            await self._kept.do(session, session.respond())
        raise ServiceError(REALTIME_MODEL, f"it asked for tools {ROUNDS} times without an answer")

    # Tools.

    def _use(self, response: ExpectedResponse, call: ToolCall) -> None:
        closing = self.is_closing(call)
        self.conversation.call([call], [ToolResult(call.id, NOT_BEGUN if closing else RUNNING)])
        if closing:
            response.reply.leaves = True
            response.closing.append(call)
        else:
            # Already before the response is done: what the tool says belongs to this reply.
            response.reply.using_tools = True
            use = partial(self._use_tool, response.reply, call, self._kept.current)
            response.tools[self.start_tool(response.reply, call, use)] = call

    async def _use_tool(
        self, reply: Reply, call: ToolCall, session: RealtimeSession | None
    ) -> None:
        await self._returned(call, await self.use_tool(reply, call), session)

    async def _returned(
        self, call: ToolCall, result: ToolResult, session: RealtimeSession | None
    ) -> None:
        """Put the result of a tool into the conversation, and tell it to the model."""
        self.conversation.returned(result)
        now = self._kept.current
        if now is None or self.dialogue.ended:
            return  # the next session is told the conversation
        if session is now:
            await self._kept.do(now, now.tell(result))
        else:
            # This session was told, as it was opened, that the result is not known.
            told = Text("system", f"{call.name} has returned: {result.text}")
            await self._kept.do(now, now.tell(told))

    async def _hold(self, reply: Reply, response: ExpectedResponse) -> None:
        """Wait for tools, and say a hold phrase if they take long."""
        _, running = await asyncio.wait(response.tools, timeout=self.hold_after)
        if not running:
            return
        slow = [call for task, call in response.tools.items() if task in running]
        hold = next(filter(None, (self.toolbox.hold(call.name) for call in slow)), None)
        if hold is not None:
            holding = await self._say(await self._ready(), reply=reply, text=hold)
            await holding.done
        await asyncio.wait(response.tools)

    # What the model says.

    async def _take(self, event: RealtimeEvent) -> None:
        if isinstance(event, Speech | SpokenText | ToolCall):
            response = self._awaited[0] if self._awaited else self._unasked()
            if response is None:
                return
            response.step.answered(self.stream.clock())
            if response.reply.first_token_at is None:
                response.reply.first_token_at = self.stream.clock()
            if not isinstance(event, SpokenText):
                response.empty = False
            if isinstance(event, Speech):
                await response.relay.play(event)
            elif isinstance(event, SpokenText):
                response.relay.write(event)
            else:
                self._use(response, event)
        elif isinstance(event, ResponseDone):
            self._response_done(event)
        elif isinstance(event, CallerText):
            self._understood(event)
        elif isinstance(event, CallerSpeaks):
            if self.dialogue.current is not None or self.stream.unheard:
                self._barged_in(True)
            self._give_way()
            self.dialogue.speaks(self._speech)
        else:
            assert isinstance(event, CallerFinished)
            self._caller_finished()

    def _response_done(self, event: ResponseDone) -> None:
        if event.cancelled or not self._awaited:
            if event.tokens is not None:
                self._late = self._late + event.tokens
            return
        response = self._awaited.popleft()
        response.step.end(self.stream.clock())
        if event.tokens is not None:
            response.reply.spend(event.tokens)
            response.step.spend(event.tokens)
        response.relay.complete()
        if event.error is not None:
            response.fail(ServiceError(REALTIME_MODEL, event.error))
        elif not response.done.done():
            response.done.set_result(None)

    def _spend(self, reply: Reply) -> None:
        late, self._late = self._late, Tokens(0, 0)
        reply.spend(late)

    def _understood(self, event: CallerText) -> None:
        if not self._untold:
            return
        reply, hearing = self._untold.popleft()
        if event.tokens is not None:
            reply.spend(event.tokens)
        reply.speech_seconds += event.seconds
        if not words_of(event.text):
            return
        hearing.text = event.text
        self.stream.decided("understood", words=event.text)
        reply.caller = f"{reply.caller} {event.text}".strip()
        reply.transcribed_at = self.stream.clock()
        self.start(
            self.on_transcript(Transcript(event.text, final=True, seconds=event.seconds)),
            "on_transcript",
        )

    # If the model's side takes the turns.

    def _caller_finished(self) -> None:
        """Expect an answer that nobody asked for: the caller has finished."""
        response = self._unasked()
        if response is not None:
            response.reply.turn_ended_at = self.stream.clock()
            self._untold.append((response.reply, self.conversation.listen()))

    def _unasked(self) -> ExpectedResponse | None:
        """Begin a reply for what the model says by itself; None if it is not to be heard."""
        if not self._kept.takes_turns or self.leaving:
            return None
        self.dialogue.understood(self._speech)
        self._answer("", None, self._follow_spontaneous)
        if self.dialogue.current is None:
            return None
        self._spontaneous = self._expect(self.dialogue.current, self._kept.current)
        return self._spontaneous

    async def _follow_spontaneous(self, reply: Reply) -> None:
        self._spend(reply)
        self.dialogue.asks(reply)
        if self._typed and self._kept.current is not None:
            # It is about to answer, without the keys that were pressed while the caller spoke.
            await self._tell_typed(self._kept.current)
            self.dialogue.unanswered = True
        if self._spontaneous is not None and self._spontaneous.reply is reply:
            await self._follow_through(reply, self._spontaneous)
