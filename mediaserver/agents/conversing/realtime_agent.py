"""An agent whose model hears and speaks by itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.conversing.agent import Agent
from mediaserver.agents.conversing.conversation import NOT_BEGUN, RUNNING, CallerSaying
from mediaserver.agents.conversing.listening import Utterance
from mediaserver.agents.conversing.relaying import Portion, Relay
from mediaserver.agents.conversing.reply import Reply
from mediaserver.agents.conversing.served import broken
from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
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
    ToolSpec,
    Transcribing,
    Transcript,
    Updatable,
)
from mediaserver.call import Frame, StreamEndedError


_SERVICE = "realtime_model"
"""What a failure is counted as where the model does not name itself."""

SAY = "Say to the caller exactly this, in these words, and nothing else: {text}"
"""What the model is told when the agent says something of its own accord."""

_RETRY_DELAYS = (0.25, 1.0)
"""Seconds before the second attempt to connect, and the third and last."""

_HOPELESS = frozenset({400, 401, 403, 404})
"""HTTP statuses after which another attempt would end the same."""

_REMEMBERED_SPEECH = 60.0
"""How many seconds of what was said last a session that replaces a lost one can still hear."""

_REMEMBERED_TURNS = 64
"""For how many of the last turns a transcript may still come."""


class _Heard:
    """What the caller said since the last answer, and how much of it a session has heard.

    The last of it is kept until it is answered, so that a session which takes the place of a lost
    one can hear it too.
    """

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self._seconds = 0.0
        self._session: RealtimeSession | None = None
        self._told = 0

    def add(self, frames: Sequence[Frame]) -> None:
        """Take what the caller goes on to say."""
        for frame in frames:
            self.frames.append(frame)
            self._seconds += frame.seconds
            if self._seconds > _REMEMBERED_SPEECH:
                self._seconds -= self.frames.popleft().seconds
                self._told = max(0, self._told - 1)

    async def tell(self, session: RealtimeSession) -> None:
        """Let the session hear what it has not heard yet."""
        if session is not self._session:
            self._session = session
            self._told = 0
        while self._told < len(self.frames):
            self._told += 1
            await session.hear(self.frames[self._told - 1])


class _Response:
    """What the model was asked to say or do, and is waited for."""

    def __init__(self, reply: Reply, relay: Relay) -> None:
        self.reply = reply
        self.relay = relay
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tools: dict[asyncio.Task[None], ToolCall] = {}
        # Those that have to wait until everything was heard.
        self.closing: list[ToolCall] = []

    def fail(self, error: ServiceError) -> None:
        """Tell whoever waits for it, if anybody does, that nothing will come of it."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()


class RealtimeAgent(Agent):
    """Converses by a `RealtimeModel`, which hears the caller and speaks by itself.

    The agent takes the turns, as `VoiceAgent` does: the model hears what is speech, from its first
    sound on, and answers when the caller has finished. So a cough neither stops it nor makes it
    speak, and nobody pays for silence. If the model is set to take the turns itself, it hears
    everything; its word that the caller speaks interrupts at once, and silence is its business too
    (``barge_in``, ``turn_taking`` and ``silence_prompt`` do nothing then).

    What the agent says of its own accord, as greeting and apology, is said by the model's voice.
    Where the connection to it is lost, a new session is told what was said so far, and goes on.
    """

    model: RealtimeModel
    """Hears, thinks and speaks."""

    _services: ClassVar[Sequence[str]] = ("model",)

    # What the calls before this one had: most likely the next has it too.
    _usual_format: ClassVar[AudioFormat] = MULAW_8K

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not hasattr(self, "model"):
            raise TypeError(
                f"{type(self).__qualname__} has no model: set it as an attribute of the class, "
                "or as a setting of its route"
            )
        self._connecting = asyncio.Lock()
        self._refusal: ServiceError | None = None
        self._session: RealtimeSession | None = None
        self._session_format: AudioFormat | None = None
        # What the session was told that the agent is to do, and may use.
        self._instructed: tuple[str, Sequence[ToolSpec]] = ("", ())
        self._opened = False
        self._heard = _Heard()
        # The one answer that is being made or heard, and the responses that it waits for.
        self._relay: Relay | None = None
        self._awaited: deque[_Response] = deque()
        # What the caller said otherwise than by voice, and the session was not told yet.
        self._typed: deque[str] = deque()
        # Turns whose words are not known yet, oldest first.
        self._untold: deque[tuple[Reply, CallerSaying]] = deque(maxlen=_REMEMBERED_TURNS)
        # What was spent on responses nobody waits for.
        self._late = Tokens(0, 0)
        self._taking_back: asyncio.Task[None] | None = None
        # Whether the model's side takes the turns, and what it last began to say by itself.
        self._takes_turns = False
        self._spontaneous: _Response | None = None

    # The connection.

    async def prewarm(self) -> None:
        """Open the session, so that the greeting need not wait for it."""
        if not self._opened and not hasattr(self, "stream"):
            with suppress(StreamEndedError):
                await self._connected()

    async def open(self) -> None:
        """Begin to hear what the model says."""
        RealtimeAgent._usual_format = self.stream.format
        async with self._connecting:
            self._opened = True
            session = self._session
            fits = self._session_format is self.stream.format and (
                not self._has_changed() or isinstance(session, Updatable)
            )
            if session is not None and fits:
                self.start(self._follow_model(session), "hears the model")
            elif session is not None:
                self._session = None
                self.start(self._let_go(session), "closes a session", finishes=True)
        await self._instruct(await self._connected())

    async def close(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            await self._let_go(session)

    async def on_stop(self, reason: str) -> None:
        """Close the session, also where the stream never came."""
        await self.close()

    async def _connected(self) -> RealtimeSession:
        """Return the session, opening one if there is none.

        Raises:
            ServiceError: none could be opened.
            StreamEndedError: there is no use for one any more.

        """
        waits = self._connecting.locked()
        async with self._connecting:
            if self._session is not None:
                return self._session
            if waits and self._refusal is not None:
                raise self._refusal  # whoever was first has tried everything
            session = await self._connect()
            if self.dialogue.ended:
                await self._let_go(session)
                raise StreamEndedError("the stream has ended: no session was opened")
            self._session = session
            self._takes_turns = session.takes_turns
            if self._opened:
                self.start(self._follow_model(session), "hears the model")
            return session

    async def _connect(self) -> RealtimeSession:
        format = self.stream.format if self._opened else self._usual_format
        self._session_format = format
        self._refusal = None
        for delay in (*_RETRY_DELAYS, None):
            if self.dialogue.ended:
                break
            self._typed.clear()  # it is in the conversation
            self._instructed = (self.prompt, self.toolbox.specs)
            try:
                return await self.model.connect(
                    prompt=self.prompt,
                    tools=self.toolbox.specs,
                    format=format,
                    conversation=self.conversation.messages,
                )
            except ServiceError as error:
                self._refusal = error
            except Exception as error:
                self._refusal = broken(_SERVICE, error)
            if delay is None or self._refusal.status in _HOPELESS:
                raise self._refusal
            await asyncio.sleep(delay)
        raise StreamEndedError("the stream has ended: no session was opened")

    def _has_changed(self) -> bool:
        """Tell whether the prompt or the tools are others than the session was told."""
        return self._instructed != (self.prompt, self.toolbox.specs)

    async def _instruct(self, session: RealtimeSession) -> None:
        """Tell a session what has changed since it was opened, if it can take that."""
        updatable: object = session
        if session is self._session and self._has_changed() and isinstance(updatable, Updatable):
            self._instructed = (self.prompt, self.toolbox.specs)
            await self._do(session, updatable.update(prompt=self.prompt, tools=self.toolbox.specs))

    async def _follow_model(self, session: RealtimeSession) -> None:
        """Hear what the model says, until the session ends."""
        events = aiter(session.events())
        while True:
            try:
                event = await anext(events)
            except StopAsyncIteration:
                lost = ServiceError(_SERVICE, "the session has ended")
            except ServiceError as error:
                lost = error
            except Exception as error:
                lost = broken(_SERVICE, error)
            else:
                await self._take(event)
                continue
            self._replace(session, lost)
            return

    async def _do(self, session: RealtimeSession, work: Awaitable[None]) -> None:
        """Have a session do something. One that fails at it is lost."""
        try:
            await work
        except ServiceError as error:
            self._replace(session, error)
        except Exception as error:
            self._replace(session, broken(_SERVICE, error))

    async def _let_go(self, session: RealtimeSession) -> None:
        try:
            await session.close()
        except Exception as error:
            broken(_SERVICE, error)

    def _replace(self, session: RealtimeSession, lost: ServiceError) -> None:
        """Do without a session that was lost, and open another."""
        if session is not self._session or self.dialogue.ended:
            return
        self._session = None
        self._untold.clear()
        current = self.dialogue.current
        if self._relay is not None and current is not None and not current.began:
            # The next session is not to be told of words that nobody heard.
            self._relay.settle()
            self._relay = None
        awaited, self._awaited = self._awaited, deque()
        for response in awaited:
            response.fail(lost)
        if not awaited:
            self._count_failure(lost)
        self.start(self._let_go(session), "closes a session", finishes=True)
        self.start(self._reconnect(), "connects")

    async def _reconnect(self) -> None:
        while not self.leaving:
            try:
                await self._connected()
            except ServiceError as error:
                if not self._takes_turns:
                    # Tried again when the caller, or the agent, has something to say.
                    self._count_failure(error)
                    return
                # Without the model nobody would notice that.
                await self._in_turn(partial(self._fail, error=error))
            else:
                return

    # What the caller does.

    async def on_audio(self, frame: Frame) -> None:
        """Listen, or let the model listen."""
        if not self._takes_turns:
            await super().on_audio(frame)
        elif self._session is not None:
            await self._do(self._session, self._session.hear(frame))

    async def hear(self, utterance: Utterance) -> str | None:
        """Let the model hear an utterance, as soon as it is known to be speech."""
        held: list[Frame] = []
        async for frame in utterance:
            held.append(frame)
            if utterance.confirmed:
                await self._tell(held)
        if not utterance.dropped:
            await self._tell(held)
            return None
        return await self._understand(utterance, held)

    async def _tell(self, frames: list[Frame]) -> None:
        self._heard.add(frames)
        frames.clear()
        if self._session is not None:
            await self._do(self._session, self._heard.tell(self._session))

    async def _understand(self, utterance: Utterance, frames: Sequence[Frame]) -> str:
        """Return the words of what was too short to interrupt by its length, as "Stop!" is.

        If they mean something, it does interrupt.
        """
        session: object = self._session
        over = utterance.finished_at
        if over is None or over - utterance.started_at < self.turn_taking.drop_after:
            return ""  # it was a noise, or the call is over
        if not utterance.over_agent or not isinstance(session, Transcribing):
            return ""
        if self._heard.frames:
            return ""  # speech of which the session does not know yet that it is over
        try:
            understood = await session.transcribe(frames)
        except ServiceError:
            raise
        except Exception as error:
            raise broken(_SERVICE, error) from error
        utterance.seconds_transcribed += understood.seconds
        if understood.tokens is not None:
            self._late = _sum(self._late, understood.tokens)
        if understood.text:
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
        """Tell whether the model has heard a question to which nothing was heard."""
        if super().still_owed(reply):
            return True
        return bool(reply.number) and not reply.began and not self._takes_turns

    # What the agent does.

    async def respond(self, reply: Reply) -> None:
        """Have the model answer what it heard, and use tools, until all of it was heard."""
        heard = self._heard
        hearing = self.conversation.listen() if heard.frames else None
        self._spend(reply)
        await self._converse(reply, partial(self._ask, reply=reply, heard=heard, hearing=hearing))

    async def utter(self, reply: Reply, text: str) -> None:
        """Have the model say this."""
        task = asyncio.current_task()
        try:
            await self._converse(reply, partial(self._say, reply=reply, text=text))
        except asyncio.CancelledError:
            # Who is not cancelled himself, but was interrupted, is a tool: it goes on.
            if task is None or task.cancelling() or not reply.settled:
                raise

    async def said(self, reply: Reply) -> None:
        """Wait until it was heard."""
        if self._relay is not None:
            await self._relay.heard()

    async def _converse(
        self, reply: Reply, ask: Callable[[RealtimeSession], Awaitable[_Response | None]]
    ) -> None:
        """Have a session respond, and hear it to the end.

        If it is lost before anything was heard, the next one does, and the caller notices nothing.
        """
        for last in (False, True):
            session = await self._ready()
            try:
                response = await ask(session)
                if response is not None:
                    await self._follow_through(reply, response)
                return
            except ServiceError as error:
                if last or reply.began or session is self._session:
                    raise
                self._count_failure(error)

    def settle(self, reply: Reply) -> None:
        """Keep what was heard, and have the model forget the rest."""
        relay, self._relay = self._relay, None
        awaited, self._awaited = self._awaited, deque()
        for response in awaited:
            response.done.cancel()
        if relay is None:
            return
        reply.heard, portions = relay.settle()
        if reply.interrupted and self._session is not None and not self.dialogue.ended:
            self._taking_back = self.start(self._take_back(self._session, portions), "takes back")

    async def _take_back(self, session: RealtimeSession, portions: list[Portion]) -> None:
        await self._do(session, session.cancel())
        for portion in portions:
            await self._do(session, session.truncate(portion.item_id, portion.seconds))

    async def _ready(self) -> RealtimeSession:
        if self._taking_back is not None:
            await asyncio.wait([self._taking_back])
        session = await self._connected()
        await self._instruct(session)
        return session

    async def _ask(
        self, session: RealtimeSession, *, reply: Reply, heard: _Heard, hearing: CallerSaying | None
    ) -> _Response | None:
        """Ask for the answer to what the caller said, or pressed."""
        while self._typed:
            await self._do(session, session.tell(Text("user", self._typed.popleft())))
        speech = hearing is not None and not hearing.text
        if self._heard is heard:
            self._heard = _Heard()
        if speech and session.takes_turns:
            # It was not there yet when the caller spoke. It hears that now, and answers by itself.
            reply.number = None
            await self._do(session, heard.tell(session))
            return None
        response = self._expect(reply, session)
        if speech:
            assert hearing is not None
            await self._do(session, heard.tell(session))
            self._untold.append((reply, hearing))
            await self._do(session, session.end_turn())
        else:
            await self._do(session, session.respond())
        return response

    async def _say(self, session: RealtimeSession, *, reply: Reply, text: str) -> _Response:
        """Ask for these words."""
        response = self._expect(reply, session)
        await self._do(session, session.say(SAY.format(text=text)))
        return response

    def _expect(self, reply: Reply, session: RealtimeSession | None) -> _Response:
        """Expect what a session is going to be asked for.

        Raises:
            ServiceError: it has been lost meanwhile.

        """
        if session is not self._session:
            raise ServiceError(_SERVICE, "the session was lost")
        if self._relay is None:
            self._relay = Relay(
                self.stream,
                saying=self.conversation.say,
                start=self.start,
                began=lambda playback: self.dialogue.plays(reply, playback, self.stream.clock()),
            )
        response = _Response(reply, self._relay)
        self._awaited.append(response)
        return response

    async def _follow_through(self, reply: Reply, response: _Response) -> None:
        """Wait for a response, use the tools it asks for and have it go on, until it is heard."""
        while True:
            try:
                await response.done
                if response.tools:
                    await self._hold(reply, response)
            finally:
                if response.tools:
                    reply.using_tools = False
            if not response.tools and not response.closing:
                await response.relay.heard()
                return
            if response.closing:
                await response.relay.heard()
                for call in response.closing:
                    result = await self.closing_tool(reply, call)
                    await self._returned(call, result, self._session)
                    if self.leaving:
                        return
            session = await self._ready()
            response = self._expect(reply, session)
            await self._do(session, session.respond())

    # Tools.

    def _use(self, response: _Response, call: ToolCall) -> None:
        closing = self.is_closing(call)
        self.conversation.call([call], [ToolResult(call.id, NOT_BEGUN if closing else RUNNING)])
        if closing:
            response.closing.append(call)
        else:
            # From now on, not only when the response is done: what the tool says is a part of it.
            response.reply.using_tools = True
            use = self._use_tool(call, self._session)
            response.tools[self.start(use, f"tool {call.name}", finishes=True)] = call

    async def _use_tool(self, call: ToolCall, session: RealtimeSession | None) -> None:
        await self._returned(call, await self.toolbox.use(call), session)

    async def _returned(
        self, call: ToolCall, result: ToolResult, session: RealtimeSession | None
    ) -> None:
        """Tell what a tool returned to the conversation, and to the model."""
        self.conversation.returned(result)
        now = self._session
        if now is None or self.dialogue.ended:
            return  # the next session is told the whole conversation
        if session is now:
            await self._do(now, now.tell(result))
        else:
            # This one was told that the result is not known.
            told = Text("system", f"{call.name} has returned: {result.text}")
            await self._do(now, now.tell(told))

    async def _hold(self, reply: Reply, response: _Response) -> None:
        """Wait for tools, and say something meanwhile if they take long."""
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
            if response.reply.first_token_at is None:
                response.reply.first_token_at = self.stream.clock()
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
        else:
            assert isinstance(event, CallerFinished)
            self._caller_finished()

    def _response_done(self, event: ResponseDone) -> None:
        if event.cancelled or not self._awaited:
            if event.tokens is not None:
                self._late = _sum(self._late, event.tokens)
            return
        response = self._awaited.popleft()
        if event.tokens is not None:
            response.reply.spend(event.tokens)
        response.relay.complete()
        if event.error is not None:
            response.fail(ServiceError(_SERVICE, event.error))
        elif not response.done.done():
            response.done.set_result(None)

    def _spend(self, reply: Reply) -> None:
        late, self._late = self._late, Tokens(0, 0)
        reply.spend(late)

    def _understood(self, event: CallerText) -> None:
        if not self._untold:
            return
        reply, hearing = self._untold.popleft()
        hearing.text = event.text
        if event.tokens is not None:
            reply.spend(event.tokens)
        reply.speech_seconds += event.seconds
        reply.caller = f"{reply.caller} {event.text}".strip()
        reply.transcribed_at = self.stream.clock()
        self.start(
            self.on_transcript(Transcript(event.text, final=True, seconds=event.seconds)),
            "on_transcript",
        )

    # Where the model's side takes the turns.

    def _caller_finished(self) -> None:
        """The model is about to answer by itself."""
        response = self._unasked()
        if response is not None:
            response.reply.turn_ended_at = self.stream.clock()
            self._untold.append((response.reply, self.conversation.listen()))

    def _unasked(self) -> _Response | None:
        """Take what the model says though nobody asked it to; only if it takes the turns."""
        if not self._takes_turns or self.leaving:
            return None
        self._answer("", None, self._follow_spontaneous)
        if self.dialogue.current is None:
            return None
        self._spontaneous = self._expect(self.dialogue.current, self._session)
        return self._spontaneous

    async def _follow_spontaneous(self, reply: Reply) -> None:
        self._spend(reply)
        if self._spontaneous is not None and self._spontaneous.reply is reply:
            await self._follow_through(reply, self._spontaneous)


def _sum(one: Tokens, other: Tokens) -> Tokens:
    return Tokens(
        one.tokens_in + other.tokens_in,
        one.tokens_out + other.tokens_out,
        one.tokens_cached + other.tokens_cached,
    )
