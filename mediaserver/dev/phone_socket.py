"""A phone in the browser, on a WebSocket: dials numbers of the sandbox, rings, speaks and hears.

A connection is one phone, with one call at a time. Text messages are JSON, in both directions (see
`phone_messages`, and `_tell` below); binary messages are audio: PCM16, little endian, mono, 16 kHz.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from audiocodecs import Samples
from mediaserver.dev.measured_call import MeasuredCall
from mediaserver.dev.phone_messages import (
    PhoneAnswers,
    PhoneDials,
    PhoneHangsUp,
    PhoneHolds,
    PhoneIsCalled,
    PhonePresses,
    PhoneRejects,
    PhoneRequest,
    PhoneRequestError,
    PhoneStalls,
    PhoneTroubles,
    read_request,
)
from mediaserver.sandbox.audio.background_noise import (
    DEFAULT_NOISE_LEVEL,
    NOISES,
    BackgroundNoise,
)
from mediaserver.sandbox.audio.jitter_buffer import JITTER_LIMIT
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.exchange import Exchange
from mediaserver.sandbox.calls.hangup import CANCELED, HangupSource
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.errors import (
    CallEnded,
    CallLimitError,
    NotInProgressError,
    UnknownNumberError,
)
from mediaserver.sandbox.people.live_person import LIVE_RATE, LivePerson
from mediaserver.sandbox.people.person import Person, Pickup, RingingCall
from mediaserver.sandbox.wire.network import StreamNetwork


log = structlog.get_logger(__name__)

_MOST_AUDIO_BYTES: Final = round(JITTER_LIMIT * LIVE_RATE) * 2
"""Bytes of audio in one message."""

_FRAMES_WAITING: Final = 50
"""Frames of 20 ms that wait for a browser that reads slowly; of more the oldest are dropped."""

_TEXTS_WAITING: Final = 5_000
"""Messages of text that wait; with more, the connection is closed."""

_CLOSING: Final = 1.0
"""Seconds that closing may take."""

_REFUSALS: Final = (
    PhoneRequestError,
    CallEnded,
    CallLimitError,
    NotInProgressError,
    UnknownNumberError,
    ValueError,
)
"""What a request can fail with; the text is for the person."""


async def _unknown(_called: str, _path: str) -> str:
    return ""


class BrowserPhones:
    """The phones of all open pages.

    Args:
        exchange: The telephone exchange, which places their calls.
        plan: Returns what answers a call; called with the format and the path of its stream, as the
            page gives them, or empty texts. It raises `ValueError` or `PhoneRequestError`, with a
            text for the person, if there can be no call.
        why: Returns why no handler took a call that the page asked for, for the person; empty if
            that is not known, as by default. Called with the number that was dialled and the path
            of the stream.

    """

    def __init__(
        self,
        exchange: Exchange,
        plan: Callable[[str, str], CallPlan],
        why: Callable[[str, str], Awaitable[str]] = _unknown,
    ) -> None:
        self._exchange = exchange
        self._plan = plan
        self._why = why
        # The last is the one that somebody used last.
        self._phones: list[_BrowserPhone] = []

    def person(self) -> Person:
        """Return the person that a call of the application's reaches, for a `Dialplan`.

        It rings on the phone that was used last, of those without a call. If there is none, the
        line is busy.
        """
        if self._idle() is None:
            log.warning("call for the phone in the browser: no page is open, or all are in a call")
            return Person(answer="busy")
        live = LivePerson()
        return live.person(partial(self._ring, live))

    async def serve(self, websocket: WebSocket) -> None:
        """Be a phone for a WebSocket that has not been accepted yet, until it is closed.

        Then its call is hung up.
        """
        await websocket.accept()
        phone = _BrowserPhone(websocket, self._exchange, self._plan, self._why, self._used)
        self._phones.append(phone)
        try:
            await phone.run()
        finally:
            self._phones.remove(phone)
            await phone.aclose()

    def _used(self, phone: _BrowserPhone) -> None:
        self._phones.remove(phone)
        self._phones.append(phone)

    def _idle(self) -> _BrowserPhone | None:
        return next((phone for phone in reversed(self._phones) if phone.idle), None)

    async def _ring(self, live: LivePerson, ringing: RingingCall) -> Pickup:
        phone = self._idle()
        for each in self._phones:
            each.rings(ringing.call_uuid)
        return "no answer" if phone is None else await phone.ring(live, ringing)


class _BrowserPhone:
    def __init__(
        self,
        websocket: WebSocket,
        exchange: Exchange,
        plan: Callable[[str, str], CallPlan],
        why: Callable[[str, str], Awaitable[str]],
        used: Callable[[_BrowserPhone], object],
    ) -> None:
        self._websocket = websocket
        self._exchange = exchange
        self._plan = plan
        self._why = why
        self._used = used
        self._outgoing = _Outgoing(websocket)
        self._tasks: set[asyncio.Task[None]] = set()
        # The call under way, and the person in it; the person alone while the call is placed.
        self._call: SandboxCall | None = None
        self._live: LivePerson | None = None
        # The call to this phone that it has asked for, until it rings.
        self._awaited: SandboxCall | None = None
        # The path of the stream of the call that it has asked for; None if it has asked for none.
        self._path: str | None = None
        # Decides about the call that rings.
        self._decision: asyncio.Future[Pickup] | None = None
        # The troubles of this phone's calls.
        self._network = StreamNetwork()
        self._noise = ""
        self._noise_level = DEFAULT_NOISE_LEVEL
        self._silent = False

    @property
    def idle(self) -> bool:
        return self._live is None

    async def run(self) -> None:
        """Obey the page until it is gone."""
        self._tell("ready", noises=list(NOISES), troubles=self._troubles())
        outgoing = self._outgoing
        coroutines = (self._read(), outgoing.write(), outgoing.overflowed.wait())
        tasks = [asyncio.create_task(each) for each in coroutines]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
            if outgoing.overflowed.is_set():
                log.warning("the page does not read: its connection is closed")
                with suppress(TimeoutError, WebSocketDisconnect):
                    async with asyncio.timeout(_CLOSING):
                        await self._websocket.close(1013, "the page does not read")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Hang up."""
        self._hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def rings(self, call_uuid: str) -> None:
        """Note that a call rings, here or on another phone."""
        if self._awaited is not None and self._awaited.uuid == call_uuid:
            self._awaited = None

    async def ring(self, live: LivePerson, ringing: RingingCall) -> Pickup:
        """Ring, and return what the person decides."""
        decision: asyncio.Future[Pickup] = asyncio.get_running_loop().create_future()
        self._decision = decision
        self._live = live
        self._tell(
            "incoming",
            call=ringing.call_uuid,
            to=ringing.called,
            name=ringing.caller_name,
            **{"from": ringing.caller},
        )
        self._follow(self._exchange.calls[ringing.call_uuid])
        try:
            await self._equip(live)
            return await decision
        finally:
            self._decision = None

    # What the page asks for

    async def _read(self) -> None:
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            if (text := message.get("text")) is not None:
                await self._obey(text)
            else:
                self._speak(message.get("bytes") or b"")

    async def _obey(self, text: str) -> None:
        try:
            request = read_request(text)
            self._used(self)
            await self._carry_out(request)
        except _REFUSALS as error:
            self._tell("error", error=str(error))

    async def _carry_out(self, request: PhoneRequest) -> None:
        match request:
            case PhoneDials():
                await self._dial(request)
            case PhoneIsCalled():
                self._require_idle()
                self._path = request.path
                call = await self._exchange.call(
                    request.to,
                    caller=request.caller,
                    plan=self._plan(request.format, request.path),
                    caller_name=request.name,
                )
                if not call.rang:
                    self._awaited = call
                    self._start(self._watch_awaited(call))
            case PhoneAnswers():
                self._decide("answer")
            case PhoneRejects():
                self._decide("reject")
            case PhoneHangsUp():
                if self._awaited is None:
                    self._require_call()
                self._hang_up()
            case PhoneHolds(on=on):
                self._require_call().hold(on)
                self._tell("held", call=self._uuid, on=on)
            case PhonePresses(digit=digits):
                self._require_call().press(digits)
            case PhoneTroubles():
                await self._trouble(request)
            case PhoneStalls(seconds=seconds):
                now = asyncio.get_running_loop().time()
                self._require_call().network.stall(seconds, now)

    async def _dial(self, asked: PhoneDials) -> None:
        self._require_idle()
        self._path = asked.path
        self._live = live = LivePerson()
        try:
            await self._equip(live)
            call = await self._exchange.dial_in(
                asked.to,
                caller=asked.caller,
                person=live.person(),
                plan=self._plan(asked.format, asked.path),
                caller_name=asked.name,
            )
        except BaseException:
            self._live = None
            raise
        self._tell("ringing", call=call.uuid, to=asked.to, **{"from": asked.caller})
        self._follow(call)

    def _decide(self, pickup: Pickup) -> None:
        if self._decision is None or self._decision.done():
            raise PhoneRequestError("no call rings that could be answered or rejected")
        self._decision.set_result(pickup)

    def _hang_up(self) -> None:
        call = self._call
        if self._awaited is not None:
            self._awaited.hang_up_by_api()
        if self._decision is not None and not self._decision.done():
            self._decision.set_result("reject")
        elif call is not None and call.line is not None:
            call.line.handset.hang_up()
        elif call is not None:
            call.hang_up(CANCELED, HangupSource.CALLER)

    async def _trouble(self, asked: PhoneTroubles) -> None:
        noise = self._noise if asked.noise is None else asked.noise
        level = self._noise_level if asked.noise_level is None else asked.noise_level
        self._network.trouble(jitter=asked.jitter, loss=asked.loss)
        self._noise, self._noise_level = noise, level
        if asked.silent is not None:
            self._silent = asked.silent
        if self._live is not None:
            # The voice goes on while a noise is made.
            self._start(self._equip(self._live))
        self._tell("troubles", **self._troubles())

    def _troubles(self) -> dict[str, Any]:
        return {
            "jitter": self._network.jitter,
            "loss": self._network.loss,
            "noise": self._noise,
            "noise_level": self._noise_level,
            "silent": self._silent,
        }

    def _speak(self, audio: bytes) -> None:
        if len(audio) % 2 or len(audio) > _MOST_AUDIO_BYTES:
            self._tell(
                "error",
                error=f"audio comes in whole samples of 16 bits, at most {JITTER_LIMIT:g} s in a"
                f" message ({_MOST_AUDIO_BYTES} bytes), not {len(audio)} bytes",
            )
        elif self._live is not None:
            self._live.speak(np.frombuffer(audio, "<i2").astype(np.int16, copy=False))

    # The call

    async def _equip(self, live: LivePerson) -> None:
        """Give a person this phone's ear and its troubles."""
        live.hear = self._hear
        live.silent = self._silent
        live.network.trouble(jitter=self._network.jitter, loss=self._network.loss)
        now, wanted = live.noise, (self._noise, self._noise_level)
        if not self._noise:
            live.noise = None
        elif now is None or (now.kind, now.level) != wanted:
            noise = await asyncio.to_thread(BackgroundNoise, *wanted)
            # Another may have been asked for meanwhile.
            if wanted == (self._noise, self._noise_level):
                live.noise = noise

    def _hear(self, frame: Samples) -> None:
        self._outgoing.put_audio(frame.astype("<i2", copy=False).tobytes())

    def _follow(self, call: SandboxCall) -> None:
        """Tell the page what happens in a call from now on."""
        self._call = call
        MeasuredCall(call, self._outgoing.put)
        self._start(self._watch(call))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_awaited(self, call: SandboxCall) -> None:
        """Tell the page if a call that it asked for is over before it rings."""
        hangup = await call.wait_hung_up()
        if self._awaited is call:
            self._awaited = None
            self._tell("error", error=f"the call ended before it rang: {hangup.cause.name}")

    async def _watch(self, call: SandboxCall) -> None:
        """Tell the page when a call is answered, and when it is over."""
        answered = asyncio.create_task(call.answered.wait())
        over = asyncio.create_task(call.wait_hung_up())
        try:
            await asyncio.wait([answered, over], return_when=asyncio.FIRST_COMPLETED)
            if call.answered.is_set():
                self._tell("answered", call=call.uuid)
            hangup = await over
        finally:
            answered.cancel()
            over.cancel()
        path, self._path = self._path, None
        why = ""
        opened = any(entry.kind == "stream_opened" for entry in call.diary.timeline)
        if path is not None and not opened and hangup.source is HangupSource.ANSWER_XML:
            why = await self._why(call.record.to_number, path)
        self._call = self._live = None
        self._tell(
            "ended",
            call=call.uuid,
            cause=hangup.cause.name,
            code=hangup.cause.code,
            by=hangup.source.value,
            why=why,
        )

    @property
    def _uuid(self) -> str:
        return "" if self._call is None else self._call.uuid

    def _require_idle(self) -> None:
        if not self.idle:
            raise PhoneRequestError("this phone has a call: hang up first")
        if self._awaited is not None:
            raise PhoneRequestError("a call to this phone is on its way: it rings in a moment")

    def _require_call(self) -> LivePerson:
        if self._call is None or self._live is None:
            raise PhoneRequestError("this phone has no call: dial a number first")
        return self._live

    def _tell(self, what: str, **details: Any) -> None:
        self._outgoing.put({"what": what, **details})


class _Outgoing:
    """Messages on their way to a page, which may read slowly: text first, then audio.

    Attributes:
        overflowed: Set once more text waits than the limit.

    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._texts: deque[str] = deque()
        self._audio: deque[bytes] = deque(maxlen=_FRAMES_WAITING)
        self._waiting = asyncio.Event()
        self.overflowed = asyncio.Event()

    def put(self, message: dict[str, Any]) -> None:
        if len(self._texts) >= _TEXTS_WAITING:
            self.overflowed.set()
            return
        self._texts.append(msgspec.json.encode(message).decode())
        self._waiting.set()

    def put_audio(self, frame: bytes) -> None:
        self._audio.append(frame)
        self._waiting.set()

    async def write(self) -> None:
        """Send what comes, until the page is gone."""
        with suppress(WebSocketDisconnect):
            while True:
                await self._waiting.wait()
                self._waiting.clear()
                while self._texts or self._audio:
                    if self._texts:
                        await self._websocket.send_text(self._texts.popleft())
                    else:
                        await self._websocket.send_bytes(self._audio.popleft())
