"""Runs answer documents on a call, element by element."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
import structlog

from audiocodecs import AudioError, Wav, decode_wav
from mediaserver.plivo import xml
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.audio.silence import wait_silent
from mediaserver.sandbox.calls.hangup import (
    BUSY,
    INVALID_XML,
    NORMAL,
    REJECTED,
    UNREACHABLE,
    XML_ENDED,
    Hangup,
    HangupSource,
)
from mediaserver.sandbox.calls.legs import connect_legs
from mediaserver.sandbox.calls.recordings import CallRecording
from mediaserver.sandbox.calls.streams import StreamPlan, StreamRefusedError
from mediaserver.sandbox.webhooks import Target, WebhookError


if TYPE_CHECKING:
    from mediaserver.sandbox.calls.call import SandboxCall

log = structlog.get_logger(__name__)

Stage: TypeAlias = Literal["answer", "action", "transfer", "redirect"]

MAX_INSTANT_DOCUMENTS: Final = 50
"""Documents in a row that may do nothing that takes time, before the call is ended as a loop."""

_EXHAUSTED_GRACE: Final = 1.0
_INSTANT: Final = 0.02
_ANY_KEY: Final = "0123456789*#"
_BEEP: Final = Wav(
    (8_000 * np.sin(2 * np.pi * 1_000 * np.arange(4_000) / 8_000)).astype(np.int16), 8_000
)


@dataclass(frozen=True, slots=True)
class Document:
    """Where a document is, and why it is asked for.

    Attributes:
        url: Where.
        method: GET or POST.
        stage: Why; decides the hangup cause if there is none.
        fallback: Where another one is.
        event: `Event` of the request.
        params: What it says beyond what every callback of the call does.

    """

    url: str
    method: str
    stage: Stage
    fallback: Target | None = None
    event: str = "StartApp"
    params: Mapping[str, str] = field(default_factory=dict)


Continuation: TypeAlias = Document | Hangup | None
"""What an element leads to: another document, the end of the call, or the next element."""


class DocumentRunner:
    """Runs the documents of one call, one at a time.

    Attributes:
        held_by_stream: Whether a stream with `keepCallAlive` is all that goes on.

    """

    def __init__(self, call: SandboxCall) -> None:
        self.held_by_stream = False
        self.session_recording: CallRecording | None = None
        self._call = call
        self._instant_documents = 0

    async def run(self, document: Document | None) -> Document | Hangup:
        """Fetch a document and run it; without one, do nothing until cancelled.

        A document that is one too many of those that took no time ends the call as invalid.
        """
        if document is None:
            await asyncio.get_running_loop().create_future()
            raise AssertionError("unreachable")
        if document.stage == "transfer":
            self._instant_documents = 0
        if self._instant_documents >= MAX_INSTANT_DOCUMENTS:
            log.warning(
                "documents go round in a circle", call_uuid=self._call.uuid, url=document.url
            )
            return Hangup(INVALID_XML[document.stage], HangupSource.ERROR)
        response = await self._load(document)
        if isinstance(response, Hangup):
            return response
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._run(response)
        finally:
            instant = loop.time() - began < _INSTANT
            self._instant_documents = self._instant_documents + 1 if instant else 0

    async def _run(self, response: xml.Response) -> Document | Hangup:
        for element in response.elements:
            outcome = await self._do(element)
            if outcome is not None:
                return outcome
            if self._call.transfer_waits:
                return Hangup(XML_ENDED, HangupSource.PLIVO)
        if len(self._call.streams):
            # What was started beside the document does not keep the call up; it just gets to begin.
            await asyncio.sleep(_EXHAUSTED_GRACE)
        return Hangup(XML_ENDED, HangupSource.PLIVO)

    async def finish(self) -> None:
        """End what runs in the background, once the call is over."""
        if self.session_recording is not None:
            await self.session_recording.stop()

    async def _load(self, document: Document) -> xml.Response | Hangup:
        params = self._call.params(document.event, **document.params)
        targets = [Target(document.url, document.method)]
        if document.fallback is not None:
            targets.append(document.fallback)
        cause = UNREACHABLE[document.stage]
        for target in targets:
            try:
                body = await self._call.exchange.webhooks.fetch(target.url, target.method, params)
                response = xml.parse_response(body)
            except WebhookError as error:
                too_large = error.failure == "too_large"
                cause = (INVALID_XML if too_large else UNREACHABLE)[document.stage]
                self._complain(target, document, str(error))
            except xml.XmlError as error:
                cause = INVALID_XML[document.stage]
                self._complain(target, document, str(error))
            else:
                for warning in response.warnings:
                    log.warning("xml warning", url=target.url, warning=warning)
                return response
        return Hangup(cause, HangupSource.ERROR)

    def _complain(self, target: Target, document: Document, error: str) -> None:
        log.warning(
            "no document",
            call_uuid=self._call.uuid,
            stage=document.stage,
            url=target.url,
            error=error,
        )

    @singledispatchmethod
    async def _do(self, element: xml.Element) -> Continuation:
        raise TypeError(f"<{element.name}> cannot be run")

    @_do.register
    async def _stream(self, element: xml.Stream) -> Continuation:
        line = await self._call.pick_up()
        try:
            stream = await self._call.streams.start(stream_plan(element), line)
        except (StreamRefusedError, ValueError) as error:
            log.warning("stream refused", call_uuid=self._call.uuid, error=str(error))
            return None
        if element.keep_call_alive:
            self.held_by_stream = True
            try:
                await stream.ended.wait()
            finally:
                self.held_by_stream = False
        return None

    @_do.register
    async def _speak(self, element: xml.Speak) -> Continuation:
        line = await self._call.pick_up()
        voice = self._call.exchange.speak
        await _play(line, await voice(element.text, element.language or "en-US"), element.loop)
        return None

    @_do.register
    async def _play_url(self, element: xml.Play) -> Continuation:
        line = await self._call.pick_up()
        wav = await self.fetch_audio(element.url)
        if wav is not None:
            await _play(line, wav, element.loop)
        return None

    async def play_urls(self, urls: Sequence[str], *, loop: bool) -> None:
        """Play files one after the other, over and over with `loop`."""
        line = await self._call.pick_up()
        clips = [wav for url in urls if (wav := await self.fetch_audio(url)) is not None]
        for _ in _times(0 if loop and clips else 1):
            for wav in clips:
                await _play(line, wav, 1)

    async def fetch_audio(self, url: str) -> Wav | None:
        """Fetch a WAV file; None, and a word in the log, if there is none."""
        try:
            return decode_wav(await self._call.exchange.fetch_audio(url))
        except (WebhookError, AudioError) as error:
            log.warning("no audio", call_uuid=self._call.uuid, url=url, error=str(error))
            return None

    @_do.register
    async def _wait(self, element: xml.Wait) -> Continuation:
        length = element.length or 1
        line = self._call.line
        if element.silence and line is not None:
            quiet = (element.min_silence or 2_000) / 1000
            try:
                async with asyncio.timeout(length):
                    await wait_silent(line, quiet)
            except TimeoutError:
                pass
        else:
            # No element answers a call but those that do something: waiting lets it ring.
            await asyncio.sleep(length)
        return None

    @_do.register
    async def _redirect(self, element: xml.Redirect) -> Continuation:
        return Document(element.url, element.method or "POST", "redirect", event="Redirect")

    @_do.register
    async def _hangup(self, element: xml.Hangup) -> Continuation:
        unanswered = self._call.line is None
        cause = NORMAL
        if unanswered and element.reason == "rejected":
            cause = REJECTED
        elif unanswered and element.reason == "busy":
            cause = BUSY
        if element.schedule is not None:
            self._call.hang_up_after(element.schedule, cause, HangupSource.ANSWER_XML)
            return None
        return Hangup(cause, HangupSource.ANSWER_XML)

    @_do.register
    async def _record(self, element: xml.Record) -> Continuation:
        line = await self._call.pick_up()
        longest = element.max_length or 60
        callback = _target(element.callback_url, element.callback_method)
        if element.record_session:
            if self.session_recording is None or self.session_recording.stopped.is_set():
                self.session_recording = CallRecording(self._call, line, longest, callback)
            params = self.session_recording.params()
        else:
            if element.play_beep is not False:
                await _play(line, _BEEP, 1)
            recording = CallRecording(self._call, line, longest, callback)
            self._call.recordings.append(recording)
            keys = _ANY_KEY if element.finish_on_key is None else element.finish_on_key
            try:
                digits = await self._until_recorded(line, recording, keys, element.timeout or 15)
            finally:
                await recording.stop()
            params = recording.params() | {"Digits": digits}
        return self._act(element.action, element.method, element.redirect, "Record", params)

    async def _until_recorded(
        self, line: Line, recording: CallRecording, keys: str, timeout: float
    ) -> str:
        """Wait for one of `keys`, for silence, or for the recording's longest time."""
        pressed: list[str] = []

        def press(digit: str) -> None:
            if digit in keys:
                pressed.append(digit)
                recording.stopped.set()

        unlisten = line.on_digit(press)
        silence = asyncio.create_task(wait_silent(line, timeout))
        silence.add_done_callback(lambda _: recording.stopped.set())
        try:
            await recording.stopped.wait()
        finally:
            unlisten()
            silence.cancel()
        return "".join(pressed)

    @_do.register
    async def _get_digits(self, element: xml.GetDigits) -> Continuation:
        line = await self._call.pick_up()
        for _ in range(element.retries or 1):
            digits = await self._collect(element, line)
            if digits:
                return self._act(
                    element.action, element.method, element.redirect, "Digits", {"Digits": digits}
                )
        return None

    async def _collect(self, element: xml.GetDigits, line: Line) -> str:
        """Play the prompts once, and return what was pressed during or after them."""
        valid = element.valid_digits or _ANY_KEY
        finish = "#" if element.finish_on_key is None else element.finish_on_key
        most = element.num_digits or 99
        keys: asyncio.Queue[str] = asyncio.Queue()
        unlisten = line.on_digit(keys.put_nowait)
        prompts = asyncio.create_task(self._prompt(element))
        digits = ""
        try:
            first = asyncio.create_task(keys.get())
            await asyncio.wait([first, prompts], return_when=asyncio.FIRST_COMPLETED)
            patience: float = element.timeout or 5
            while len(digits) < most:
                try:
                    async with asyncio.timeout(patience):
                        key = await (first if not digits else keys.get())
                except TimeoutError:
                    break
                prompts.cancel()
                if key in finish:
                    break
                if key in valid:
                    digits += key
                elif not digits:
                    first = asyncio.create_task(keys.get())
                patience = element.digit_timeout or 2
        finally:
            unlisten()
            prompts.cancel()
            first.cancel()
            await asyncio.gather(prompts, first, return_exceptions=True)
        return digits

    async def _prompt(self, element: xml.GetDigits) -> None:
        for prompt in element.prompts:
            await self._do(prompt)

    @_do.register
    async def _dial(self, element: xml.Dial) -> Continuation:
        params = await connect_legs(self._call, element)
        return self._act(element.action, element.method, element.redirect, "Dial", params)

    def _act(
        self,
        action: str | None,
        method: str | None,
        redirect: bool | None,
        event: str,
        params: Mapping[str, str],
    ) -> Continuation:
        """Go on with the document of an action URL, or only tell it with `redirect="false"`."""
        if action is None:
            return None
        if redirect is False:
            self._call.notify(Target(action, method or "POST"), self._call.params(event, **params))
            return None
        return Document(action, method or "POST", "action", event=event, params=params)


async def _play(line: Line, wav: Wav, loop: int | None) -> None:
    mono = wav.mono()
    for _ in _times(loop):
        clip = line.play(mono, wav.rate)
        try:
            if not await clip.finished():
                return
        finally:
            clip.stop()


def _times(loop: int | None) -> Iterator[int]:
    """Count as often as the `loop` attribute says: once by default, for ever if it is 0."""
    return itertools.count() if loop == 0 else iter(range(1 if loop is None else loop))


def _target(url: str | None, method: str | None) -> Target | None:
    return None if url is None else Target(url, method or "POST")


def stream_plan(element: xml.Stream) -> StreamPlan:
    """Return what `<Stream>` asks for; what it leaves open is as the pages have it."""
    defaults = StreamPlan(element.url)
    return StreamPlan(
        url=element.url,
        bidirectional=bool(element.bidirectional),
        track=element.audio_track or defaults.track,
        content_type=element.content_type or defaults.content_type,
        timeout=element.stream_timeout or defaults.timeout,
        status_callback_url=element.status_callback_url,
        status_callback_method=element.status_callback_method or "POST",
        extra_headers=element.extra_headers or "",
        noise_cancellation=bool(element.noise_cancellation),
        noise_cancellation_level=(
            element.noise_cancellation_level or defaults.noise_cancellation_level
        ),
    )
