"""An agent whose model hears and speaks by itself."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, ClassVar

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.agent import Agent, Reply, Work
from mediaserver.agents.conversation import Hearing
from mediaserver.agents.listening import Utterance
from mediaserver.agents.relaying import Portion, Relay
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
    Transcript,
)
from mediaserver.call import Frame


SERVICE = "realtime_model"
"""What a failed response is counted as."""

SAY = "Say to the caller exactly this, in these words, and nothing else: {text}"
"""What the model is told when the agent says something of its own accord."""

RETRY_AFTER = (0.25, 1.0)
"""Seconds before the second attempt to connect, and the third and last."""

HOPELESS = frozenset({400, 401, 403, 404})
"""HTTP statuses after which another attempt would end the same."""

RUNNING = "It was begun, and is not done yet. Its result is not known."
"""What stands for the result of a tool in the conversation until it is done."""

CLOSING_TOOLS = frozenset({"hang_up", "transfer"})
"""Tools that end the agent's part of the call: used when all that was said has been heard."""

REMEMBERED_TURNS = 64
"""For how many of the last turns a transcript may still come."""


class _Heard:
    """What the caller said since the last answer, and how much of it a session has heard.

    It is kept until it is answered, so that a session which takes the place of a lost one can hear
    it too.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._session: RealtimeSession | None = None
        self._told = 0

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
        self.calls: list[ToolCall] = []
        self.tools: list[asyncio.Task[None]] = []
        # Those that have to wait until everything was heard.
        self.closing: list[ToolCall] = []


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
        self._session: RealtimeSession | None = None
        self._session_format: AudioFormat | None = None
        self._opened = False
        self._heard = _Heard()
        # The one answer that is being made or heard, and the responses that it waits for.
        self._relay: Relay | None = None
        self._awaited: deque[_Response] = deque()
        # What the caller said otherwise than by voice, and the session was not told yet.
        self._typed: deque[str] = deque()
        # Turns whose words are not known yet, oldest first.
        self._untold: deque[tuple[Reply, Hearing]] = deque(maxlen=REMEMBERED_TURNS)
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
            await self._connected()

    async def open(self) -> None:
        """Begin to hear what the model says."""
        RealtimeAgent._usual_format = self.stream.format
        async with self._connecting:
            self._opened = True
            session = self._session
            if session is not None and self._session_format is self.stream.format:
                self.start(self._follow_model(session), "hears the model")
            elif session is not None:
                self._session = None
                await session.close()
        await self._connected()

    async def close(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def on_stop(self, reason: str) -> None:
        """Close the session, also where the stream never came."""
        await self.close()

    async def _connected(self) -> RealtimeSession:
        """Return the session, opening one if there is none.

        Raises:
            ServiceError: none could be opened.

        """
        async with self._connecting:
            if self._session is None:
                self._session = await self._connect()
                self._takes_turns = self._session.takes_turns
                if self._opened:
                    self.start(self._follow_model(self._session), "hears the model")
            return self._session

    async def _connect(self) -> RealtimeSession:
        format = self.stream.format if self._opened else self._usual_format
        self._session_format = format
        for delay in (*RETRY_AFTER, None):
            self._typed.clear()  # it is in the conversation
            try:
                return await self.model.connect(
                    prompt=self.prompt,
                    tools=self.toolbox.specs,
                    format=format,
                    conversation=self.conversation.messages,
                )
            except ServiceError as error:
                if delay is None or error.status in HOPELESS:
                    raise
                await asyncio.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    async def _follow_model(self, session: RealtimeSession) -> None:
        """Hear what the model says, until the session ends; replace one that is lost."""
        try:
            async for event in session.events():
                await self._take(event)
        except ServiceError as error:
            if session is not self._session:
                return
            self._session = None
            self._untold.clear()
            if self._relay is not None and self._reply is not None and not self._reply.began:
                # The next session is not to be told of words that nobody heard.
                self._relay.settle()
                self._relay = None
            awaited, self._awaited = self._awaited, deque()
            for response in awaited:
                if not response.done.done():
                    response.done.set_exception(error)
            if not awaited:
                self._count_failure(error)
        else:
            return
        self.start(session.close(), "closes a session", finishes=True)
        try:
            await self._connected()
        except ServiceError as error:
            # Tried again when the caller, or the agent, has something to say.
            self._count_failure(error)

    # What the caller does.

    async def on_audio(self, frame: Frame) -> None:
        """Listen, or let the model listen."""
        if not self._takes_turns:
            await super().on_audio(frame)
        elif self._session is not None:
            await self._session.hear(frame)

    async def hear(self, utterance: Utterance) -> None:
        """Let the model hear an utterance, as soon as it is known to be speech."""
        held: list[Frame] = []
        async for frame in utterance:
            held.append(frame)
            if utterance.confirmed:
                await self._tell(held)
        if not utterance.dropped:
            await self._tell(held)

    async def _tell(self, frames: list[Frame]) -> None:
        self._heard.frames += frames
        frames.clear()
        if self._session is not None:
            await self._heard.tell(self._session)

    def _answer(
        self,
        text: str,
        utterance: Utterance | None,
        work: Work,
        since: float | None = None,
    ) -> None:
        if text:
            self._typed.append(text)
        super()._answer(text, utterance, work, since)

    def interrupt(self) -> None:
        """Stop what the agent says, or is about to say."""
        reply = self._reply
        super().interrupt()
        if reply is not None and reply.number and not reply.began and not self._takes_turns:
            # The model has heard a question, and nothing was heard of the answer.
            self._unanswered = reply

    # What the agent does.

    async def respond(self, reply: Reply) -> None:
        """Have the model answer what it heard, and use tools, until all of it was heard."""
        heard = self._heard
        hearing = self.conversation.listen() if heard.frames else None
        self._spend(reply)
        for last in (False, True):
            session = await self._ready()
            try:
                response = await self._ask(session, reply, heard, hearing)
                await self._follow_through(reply, response)
                return
            except ServiceError as error:
                if last or reply.began or session is self._session:
                    raise
                # The session was lost before anything of the answer was heard: the next one
                # hears the caller again, and the caller nothing of all that.
                self._count_failure(error)

    async def utter(self, reply: Reply, text: str) -> None:
        """Have the model say this."""
        session = await self._ready()
        response = self._expect(reply)
        await session.say(SAY.format(text=text))
        await response.done
        await response.relay.heard()

    def settle(self, reply: Reply) -> None:
        """Keep what was heard, and have the model forget the rest."""
        relay, self._relay = self._relay, None
        awaited, self._awaited = self._awaited, deque()
        for response in awaited:
            response.done.cancel()
        if relay is None:
            return
        reply.heard, portions = relay.settle()
        if reply.interrupted and self._session is not None and not self._ended:
            self._taking_back = self.start(self._take_back(self._session, portions), "takes back")

    async def _take_back(self, session: RealtimeSession, portions: list[Portion]) -> None:
        await session.cancel()
        for portion in portions:
            await session.truncate(portion.item_id, portion.seconds)

    async def _ready(self) -> RealtimeSession:
        if self._taking_back is not None:
            await asyncio.wait([self._taking_back])
        return await self._connected()

    async def _ask(
        self, session: RealtimeSession, reply: Reply, heard: _Heard, hearing: Hearing | None
    ) -> _Response:
        """Ask for the answer to what the caller said, or pressed."""
        while self._typed:
            await session.tell(Text("user", self._typed.popleft()))
        response = self._expect(reply)
        if hearing is not None and not hearing.text:
            await heard.tell(session)
            self._untold.append((reply, hearing))
            await session.end_turn()
        else:
            await session.respond()
        if self._heard is heard:
            self._heard = _Heard()
        return response

    def _expect(self, reply: Reply) -> _Response:
        if self._relay is None:
            self._relay = Relay(
                self.stream,
                saying=self.conversation.say,
                start=self.start,
                began=lambda playback: reply.plays(playback, self.stream.clock()),
            )
        response = _Response(reply, self._relay)
        self._awaited.append(response)
        return response

    async def _follow_through(self, reply: Reply, response: _Response) -> None:
        """Wait for a response, use the tools it asks for and have it go on, until it is heard."""
        while True:
            await response.done
            if response.tools:
                reply.using_tools = True
                await self._hold(reply, response)
                reply.using_tools = False
            elif not response.closing:
                await response.relay.heard()
                return
            if response.closing:
                await response.relay.heard()
                for call in response.closing:
                    result = await self.closing_tool(reply, call)
                    await self._returned(call, result, self._session)
                    if self._leaving:
                        return
            session = await self._ready()
            response = self._expect(reply)
            await session.respond()

    # Tools.

    def _use(self, response: _Response, call: ToolCall) -> None:
        response.calls.append(call)
        self.conversation.call([call], [ToolResult(call.id, RUNNING)])
        if call.name in CLOSING_TOOLS:
            response.closing.append(call)
        else:
            use = self._use_tool(call, self._session)
            response.tools.append(self.start(use, f"tool {call.name}", finishes=True))

    async def _use_tool(self, call: ToolCall, session: RealtimeSession | None) -> None:
        await self._returned(call, await self.toolbox.use(call), session)

    async def _returned(
        self, call: ToolCall, result: ToolResult, session: RealtimeSession | None
    ) -> None:
        """Tell what a tool returned to the conversation, and to the model."""
        self.conversation.returned(result)
        if self._session is None or self._ended:
            return  # the next session is told the whole conversation
        if session is self._session:
            await self._session.tell(result)
        else:
            # This one was told that the result is not known.
            await self._session.tell(Text("system", f"{call.name} has returned: {result.text}"))

    async def _hold(self, reply: Reply, response: _Response) -> None:
        """Wait for tools, and say something meanwhile if they take long."""
        _, running = await asyncio.wait(response.tools, timeout=self.hold_after)
        if not running:
            return
        holds = [self.toolbox.hold(call.name) for call in response.calls]
        hold = next((phrase for phrase in holds if phrase), None)
        if hold is not None:
            session = await self._ready()
            holding = self._expect(reply)
            await session.say(SAY.format(text=hold))
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
            if self._reply is not None or self.stream.unheard:
                self._barged_in(True)
            self.interrupt()
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
        if response.done.done():
            return
        if event.error is None:
            response.done.set_result(None)
        else:
            response.done.set_exception(ServiceError(SERVICE, event.error))

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
        if not self._takes_turns or self._leaving:
            return None
        self._answer("", None, self._follow_spontaneous)
        if self._reply is None:
            return None
        self._spontaneous = self._expect(self._reply)
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
