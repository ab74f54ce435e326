"""What operators can see of calls that have ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec import structs
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from mediaserver.captures.capture_file import open_capture
from mediaserver.captures.capture_lines import CaptureError
from mediaserver.plivo.numbers import phone_key
from mediaserver.records.payload import CAUSE_OF_LOST
from mediaserver.server.admin.access import client_of
from mediaserver.server.admin.audit import AuditLog
from mediaserver.server.admin.captured_trace import captured_lines
from mediaserver.server.admin.commands import CallCommand, CallFilter, Delivery
from mediaserver.server.admin.directory import Directory
from mediaserver.server.admin.past_calls import (
    PastCall,
    PastCalls,
    PastCallsError,
    PastQuery,
    audio_file,
)
from mediaserver.server.admin.recorded_trace import recorded_lines, transcript_lines
from mediaserver.server.admin.requests import AdminError, read_limit, read_trace
from mediaserver.server.admin.responses import (
    PRIVATE,
    SHOWN_DIGITS,
    delivery_response,
    json_response,
    masked,
)
from mediaserver.server.admin.traced_calls import MAY_NOT_LISTEN_IN
from mediaserver.server.ended_calls import CAUSES_OF_END


_FILTERS: Final = ("number", "handler", "cause", "since", "until", "bad", "limit", "after")

_WHOLE: Final = 8
"""Digits that a whole number has at least."""

_CAUSES: Final = sorted((*CAUSES_OF_END, CAUSE_OF_LOST))

_PIECE: Final = 65_536
"""Characters of lines that are sent at once."""

_WORK: Final = 0.002
"""Seconds of CPU after which the making of lines rests as long as it has worked. Where there are no
workers, the calls are served in the same process."""

_AUDIO_TYPES: Final = {".wav": "audio/wav", ".flac": "audio/flac"}

_T = TypeVar("_T")


class PastEndpoints:
    """The endpoints for calls that have ended.

    Args:
        past: finds them.
        directory: knows the live calls.
        audit: writes down whose call an operator looks at.
        personal_data: whether whole numbers and words are shown.
        listen_in: whether audio is sent.

    """

    def __init__(
        self,
        past: PastCalls,
        directory: Directory,
        audit: AuditLog,
        *,
        personal_data: bool,
        listen_in: bool,
    ) -> None:
        self._past = past
        self._directory = directory
        self._audit = audit
        self._personal_data = personal_data
        self._listen_in = listen_in

    async def calls(self, request: Request) -> Response:
        """List them."""
        query = read_past_query(request)
        # One more shows whether there are further ones.
        found = await self._found(
            lambda: self._past.find(structs.replace(query, limit=query.limit + 1))
        )
        page = found[: query.limit]
        more = len(found) > len(page)
        # A capture is there from the first second of its call on.
        live = set() if all(each.recorded for each in page) else await self._live()
        return json_response(
            {
                "calls": [self._fields(each) for each in page if each.call_id not in live],
                "next": _written_place(page[-1]) if more else None,
            }
        )

    async def trace(self, request: Request) -> Response:
        """Send the lines of a call: from its capture, or the few that its record has."""
        command = read_trace(request)
        delivery = Delivery("done")
        if command.audio and not self._listen_in:
            delivery = MAY_NOT_LISTEN_IN
        self._audit.command(client_of(request), command, delivery)
        if delivery.status != "done":
            return delivery_response(delivery, call=command.call)
        lines = await self._found(lambda: self._lines(command))
        return StreamingResponse(lines, media_type="application/x-ndjson", headers=PRIVATE)

    async def recording(self, request: Request) -> Response:
        """Send the audio file that the record of a call names."""
        call = request.path_params["id"]
        delivery = Delivery("done") if self._listen_in else MAY_NOT_LISTEN_IN
        self._audit.recording(client_of(request), call, delivery)
        if delivery.status != "done":
            return delivery_response(delivery, call=call)
        path = await self._found(lambda: self._past.recording_of(call))
        if path is None:
            raise AdminError(
                404,
                f"there is no recording of a call {call[:100]!r} on this machine",
                "GET /past says which calls have one; ask the machine that had the call",
            )
        kind = _AUDIO_TYPES[path.suffix.lower()]
        return FileResponse(path, media_type=kind, headers=PRIVATE)

    async def _live(self) -> set[str]:
        """Return the ids of the live calls."""
        live: set[str] = set()
        wanted = CallFilter()
        while True:
            page = await self._directory.calls(wanted)
            live.update(each.call_id for each in page.calls if each.call_id is not None)
            if len(page.calls) < wanted.limit:
                return live
            wanted = structs.replace(wanted, after=page.calls[-1].cursor)

    def _lines(self, command: CallCommand) -> Iterator[str]:
        path = self._past.capture_of(command.call)
        if path is None:
            record = self._past.record_of(command.call)
            if record is not None:
                recording = self._listen_in and audio_file(record[0]["recording"]) is not None
                lines = recorded_lines(
                    *record,
                    personal_data=self._personal_data,
                    recording=recording,
                    transcript=transcript_lines(record[0]["transcript"]),
                )
                return _pieces(lines)
            raise AdminError(
                404,
                f"nothing is kept of a call {command.call[:100]!r} on this machine",
                "GET /past lists the calls",
            )
        try:
            head, wire = open_capture(path)
        except (OSError, CaptureError) as error:
            raise AdminError(
                409, f"the capture cannot be read: {error}", "look at another call"
            ) from None
        return _pieces(
            unhurried(
                captured_lines(head, wire, personal_data=self._personal_data, audio=command.audio)
            )
        )

    async def _found(self, find: Callable[[], _T]) -> _T:
        if not self._past:
            raise AdminError(
                404,
                "this server keeps nothing of its calls",
                "start it with --records or --capture",
            )
        try:
            return await asyncio.to_thread(find)
        except PastCallsError as error:
            raise AdminError(503, str(error), "try again; the server's log may say more") from None

    def _fields(self, call: PastCall) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(call)
        del shown["place"]
        if not self._personal_data:
            shown["caller"] = masked(call.caller)
            shown["called"] = masked(call.called)
        return shown


def read_past_query(request: Request) -> PastQuery:
    """Return which calls a request is about.

    Raises:
        AdminError: it cannot be understood.

    """
    given = dict(request.query_params)
    wrong = [name for name in given if name not in _FILTERS]
    if wrong:
        raise AdminError(
            422, f"there is no filter {wrong[0][:60]!r}", f"there is {', '.join(_FILTERS)}"
        )
    number = given.get("number", "")
    # Some more digits than are shown would tell those that are hidden, one by one.
    digits = len(number) if number.isascii() and number.isdecimal() else _WHOLE
    if number and digits > SHOWN_DIGITS and (digits < _WHOLE or phone_key(number) is None):
        raise AdminError(
            422,
            f"{number[:60]!r} is not a phone number",
            "write it with its country code, such as 14155550100, or as a SIP address; or write its"
            f" last {SHOWN_DIGITS} digits",
        )
    cause = given.get("cause", "")
    if cause and cause not in _CAUSES:
        raise AdminError(422, f"there is no cause {cause[:60]!r}", f"there is {', '.join(_CAUSES)}")
    bad = given.get("bad", "0")
    if bad not in ("0", "1"):
        raise AdminError(422, f"bad is {bad[:60]!r}", "it is 1 for bad calls alone, or 0")
    return PastQuery(
        number=number,
        handler=given.get("handler", ""),
        since=_time("since", given["since"]) if "since" in given else None,
        until=_time("until", given["until"]) if "until" in given else None,
        cause=cause,
        bad=bad == "1",
        behind=_place(given["after"]) if "after" in given else None,
        limit=read_limit(given),
    )


def _written_place(call: PastCall) -> str:
    began, name = call.place
    return f"{began.isoformat()}/{name}"


def _place(text: str) -> tuple[datetime, str]:
    began, _, name = text.partition("/")
    try:
        return _time("after", began), name
    except AdminError:
        raise AdminError(
            422, f"after is {text[:60]!r}", "it is what next of the last page says"
        ) from None


def _time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise AdminError(
            422, f"{name} is {text[:60]!r}", "it is such as 2027-01-15 or 2027-01-15T08:30Z"
        ) from None


def unhurried(
    lines: Iterator[str],
    *,
    clock: Callable[[], float] = time.thread_time,
    rest: Callable[[float], object] = time.sleep,
) -> Iterator[str]:
    """Yield lines that take CPU to make, so that other threads have half of it.

    Args:
        lines: are made as they are asked for.
        clock: returns the seconds of CPU that this thread has taken.
        rest: lets other threads work for so many seconds.

    """
    worked, began = 0.0, clock()
    for line in lines:
        worked += clock() - began
        if worked >= _WORK:
            rest(worked)
            worked = 0.0
        yield line
        began = clock()


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    piece: list[str] = []
    size = 0
    for line in lines:
        piece.append(f"{line}\n")
        size += len(line)
        if size > _PIECE:
            yield "".join(piece)
            piece, size = [], 0
    yield "".join(piece)
