"""Runs answer documents on a call, element by element."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from functools import singledispatchmethod
from typing import Final, TypeAlias

from mediaserver.plivo import xml
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.audio.silence import wait_silent
from mediaserver.sandbox.calls.announcements import BEEP, fetch_clip, play_clip
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.diary import without_query
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
from mediaserver.sandbox.calls.legs import PlaceLeg, connect_legs
from mediaserver.sandbox.calls.plan import Document
from mediaserver.sandbox.calls.recordings import CallRecording
from mediaserver.sandbox.calls.streams import StreamRefusedError, stream_plan
from mediaserver.sandbox.webhooks import Target, WebhookError


MAX_INSTANT_DOCUMENTS: Final = 50
"""Most consecutive documents that take no time; more count as a loop, and the call is ended."""

_EXHAUSTED_GRACE: Final = 1.0
_INSTANT: Final = 0.02
_ANY_KEY: Final = "0123456789*#"

Continuation: TypeAlias = Document | Hangup | None
"""What follows an element: another document, the end of the call, or the next element."""


class DocumentRunner:
    """Runs the documents of one call, one at a time.

    Args:
        call: The call.
        place_leg: Places the calls that `<Dial>` adds.

    """

    def __init__(self, call: SandboxCall, place_leg: PlaceLeg) -> None:
        self._call = call
        self._place_leg = place_leg
        self._instant_documents = 0

    async def run(self, document: Document | None) -> Document | Hangup:
        """Fetch a document and run it; without one, wait until cancelled.

        Too many documents in a row that take no time end the call as invalid.
        """
        if document is None:
            await asyncio.get_running_loop().create_future()
            raise AssertionError("unreachable")
        if document.stage == "transfer":
            self._instant_documents = 0
        if self._instant_documents >= MAX_INSTANT_DOCUMENTS:
            self._call.diary.tell(
                "error", f"documents form a loop: {document.url}", level="warning"
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
            self._call.diary.tell("xml_runs", f"<{element.name}>")
            outcome = await self._do(element)
            if outcome is not None:
                return outcome
            if self._call.transfer_waits:
                return Hangup(XML_ENDED, HangupSource.PLIVO)
        if len(self._call.streams):
            # A stream without keepCallAlive does not hold the call, but it has time to start.
            await asyncio.sleep(_EXHAUSTED_GRACE)
        return Hangup(XML_ENDED, HangupSource.PLIVO)

    async def _load(self, document: Document) -> xml.Response | Hangup:
        params = self._call.params(document.event, **document.params)
        targets = [Target(document.url, document.method)]
        if document.fallback is not None:
            targets.append(document.fallback)
        cause = UNREACHABLE[document.stage]
        for target in targets:
            try:
                body = await self._call.services.webhooks.fetch(target.url, target.method, params)
                response = xml.parse_response(body)
            except WebhookError as error:
                came = error.failure in ("too_large", "unreadable")
                cause = (INVALID_XML if came else UNREACHABLE)[document.stage]
                self._complain(target, document, str(error))
            except xml.XmlError as error:
                cause = INVALID_XML[document.stage]
                self._complain(target, document, str(error))
            else:
                diary = self._call.diary
                names = ", ".join(element.name for element in response.elements) or "nothing"
                diary.tell("xml_fetched", f"{target.method} {without_query(target.url)}: {names}")
                for warning in response.warnings:
                    diary.tell("warning", warning, level="warning")
                return response
        return Hangup(cause, HangupSource.ERROR)

    def _complain(self, target: Target, document: Document, error: str) -> None:
        url = without_query(target.url)
        self._call.diary.tell(
            "error", f"no XML ({document.stage}), {url}: {error}", level="warning"
        )

    @singledispatchmethod
    async def _do(self, element: xml.Element) -> Continuation:
        raise TypeError(f"<{element.name}> cannot be run")

    @_do.register
    async def _stream(self, element: xml.Stream) -> Continuation:
        line = await self._call.pick_up()
        try:
            stream = await self._call.streams.start(stream_plan(element.url, element), line)
        except (StreamRefusedError, ValueError) as error:
            self._call.diary.tell("error", f"stream refused: {error}", level="warning")
            return None
        if element.keep_call_alive:
            self._call.held_by_stream = True
            try:
                await stream.ended.wait()
            finally:
                self._call.held_by_stream = False
        return None

    @_do.register
    async def _speak(self, element: xml.Speak) -> Continuation:
        line = await self._call.pick_up()
        speech = await self._call.services.speak(element.text, element.language or "en-US")
        await play_clip(line, speech, element.loop)
        return None

    @_do.register
    async def _play_url(self, element: xml.Play) -> Continuation:
        line = await self._call.pick_up()
        call = self._call
        wav = await fetch_clip(call.services, element.url, line.rate, call.diary)
        if wav is not None:
            await play_clip(line, wav, element.loop)
        return None

    @_do.register
    async def _wait(self, element: xml.Wait) -> Continuation:
        length = element.length or 1
        line = self._call.line
        if element.silence and line is not None:
            await wait_silent(line, (element.min_silence or 2_000) / 1000, within=length)
        else:
            # Only elements that need the line answer a call: during a wait it goes on ringing.
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
        callback = Target.optional(element.callback_url, element.callback_method)
        if element.record_session:
            params = self._call.record_session(longest, callback).params()
        else:
            if element.play_beep is not False:
                await play_clip(line, BEEP)
            recording = self._call.start_recording(longest, callback)
            keys = _ANY_KEY if element.finish_on_key is None else element.finish_on_key
            try:
                digits = await self._until_recorded(line, recording, keys, element.timeout or 15)
            finally:
                await recording.stop()
            params = recording.params() | {"Digits": digits}
        return self._act(element, "Record", params)

    async def _until_recorded(
        self, line: Line, recording: CallRecording, keys: str, silence: float
    ) -> str:
        """Wait for one of `keys`, for silence, or for the recording to end; return the key."""
        pressed: list[str] = []

        def press(digit: str) -> None:
            if digit in keys:
                pressed.append(digit)
                recording.stopped.set()

        unlisten = line.on_digit(press)
        silent = asyncio.create_task(wait_silent(line, silence, within=math.inf))
        silent.add_done_callback(lambda _: recording.stopped.set())
        try:
            await recording.stopped.wait()
        finally:
            unlisten()
            silent.cancel()
        return "".join(pressed)

    @_do.register
    async def _get_digits(self, element: xml.GetDigits) -> Continuation:
        line = await self._call.pick_up()
        for _ in range(element.retries or 1):
            digits = await self._collect(element, line)
            if digits:
                return self._act(element, "Digits", {"Digits": digits})
        return None

    async def _collect(self, element: xml.GetDigits, line: Line) -> str:
        """Play the prompts once, and return the keys pressed during or after them."""
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
        params = await connect_legs(self._call, element, self._place_leg)
        return self._act(element, "Dial", params)

    def _act(
        self, element: xml.Record | xml.GetDigits | xml.Dial, event: str, params: Mapping[str, str]
    ) -> Continuation:
        """Go on with the document of an action URL; with `redirect="false"` only notify it."""
        target = Target.optional(element.action, element.method)
        if target is None:
            return None
        if element.redirect is False:
            self._call.notify(target, self._call.params(event, **params))
            return None
        return Document(*target, "action", event=event, params=params)
