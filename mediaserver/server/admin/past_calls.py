"""Calls that have ended: those with a record, and those whose wire was captured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mediaserver.captures.capture_file import SUFFIX, read_capture_head
from mediaserver.captures.capture_folder import CaptureFolder, captured_call, name_of_call
from mediaserver.captures.capture_lines import CaptureError, CaptureHead
from mediaserver.plivo.numbers import phone_key, same_number
from mediaserver.server.admin.recorded_trace import transcript_lines
from mediaserver.server.admin.responses import SHOWN_DIGITS
from mediaserver.settings import Settings


if TYPE_CHECKING:
    from mediaserver.records.database import RecordsDatabase


class PastCallsError(Exception):
    """Calls that have ended cannot be found now; the message says why."""


class PastQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls are wanted, the newest first: those for which all of this holds."""

    number: str = ""
    """From or to this number, or to numbers that end in these few digits."""
    handler: str = ""
    cause: str = ""
    """Ended for this cause, as its record says."""
    since: datetime | None = None
    """Began at this time or later."""
    until: datetime | None = None
    """Began before this time."""
    bad: bool = False
    """Was bad, as its record says."""
    behind: tuple[datetime, str] | None = None
    """Comes after the call with this `PastCall.place`."""
    limit: int = 50


class PastCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call, or one of its streams."""

    id: str
    """Of its record, or the name of its capture."""
    call_id: str | None
    began: str
    """By ISO 8601."""
    seconds: float | None
    """How long it lasted; None if that was not recorded."""
    handler: str
    caller: str | None
    called: str | None
    cause: str | None = None
    """Why it ended, if that was recorded."""
    complaints: list[str] = []
    """What was bad about it, as its record says."""
    turns: int = 0
    """Turns of the conversation with an agent that its record has."""
    captured: bool = False
    """Whether its wire is on this machine."""
    recorded: bool = False
    """Whether it has a record."""
    recording: bool = False
    """Whether the audio file that its record names is on this machine."""
    transcribed: bool = False
    """Whether its record names a transcript that is on this machine."""
    place: tuple[datetime, str] = (datetime.min, "")
    """Its place in the list: when it began, and its id."""


class PastCalls:
    """Finds calls that have ended. All methods read files or ask a database, and so take time.

    Args:
        settings: say where calls are recorded and captured.

    """

    def __init__(self, settings: Settings) -> None:
        self._records = settings.records_url
        self._key = (
            None if settings.secret_is_random else settings.secret.get_secret_value().encode()
        )
        self._folder = None if settings.capture is None else CaptureFolder(settings.capture)

    def __bool__(self) -> bool:
        """Whether this server keeps anything of its calls."""
        return self._records is not None or self._folder is not None

    @property
    def records(self) -> bool:
        """Whether it keeps records, which say why a call ended and what was bad about it."""
        return self._records is not None

    def find(self, query: PastQuery) -> list[PastCall]:
        """Return calls, the newest first.

        Raises:
            PastCallsError: they cannot be found now.

        """
        if self._records is not None:
            return self._recorded(query)
        return [] if query.bad or query.cause else list(self._captured(query))

    def capture_of(self, name: str) -> Path | None:
        """Return the capture of a call, by the id of the call, of its record or of the capture.

        Raises:
            PastCallsError: it cannot be found now.

        """
        for path in self._captures():
            if path.name == f"{name}{SUFFIX}":
                return path
        found = self._captures(name)
        if not found and self._folder is not None and self._records is not None:
            for row in self._rows(1, call=name):
                found = self._captures(row["call_id"] or name)
                found.sort(key=partial(_apart, row["started_at"]))
        return found[0] if found else None

    def recording_of(self, name: str) -> Path | None:
        """Return the audio file that a call's record names, by any of its ids.

        Of a call with several streams, it is that of the newest one that has one.

        Raises:
            PastCallsError: it cannot be found now.

        """
        if self._records is None:
            return None
        paths = (row["recording"] for row in self._rows(10, call=name))
        return next((path for each in paths if (path := audio_file(each)) is not None), None)

    def record_of(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """Return the columns of a call's record and of its turns, by any of its ids.

        Raises:
            PastCallsError: it cannot be found now.

        """
        if self._records is None:
            return None
        rows = self._rows(1, call=name)
        if not rows:
            return None
        from mediaserver.records.queries import turns_of

        with self._database() as database:
            return rows[0], turns_of(database, [rows[0]["id"]])[rows[0]["id"]]

    def _captures(self, call: str | None = None) -> list[Path]:
        """Return the captures that there are, or those of one call."""
        if self._folder is None:
            return []
        try:
            return self._folder.captures(call)
        except FileNotFoundError:
            return []  # The folder is made when the first capture is.
        except OSError as error:
            raise PastCallsError(f"the folder of captures cannot be read: {error}") from None

    def _recorded(self, query: PastQuery) -> list[PastCall]:
        from mediaserver.records.payload import written_time
        from mediaserver.records.quality import complaints

        rows = self._rows(
            query.limit,
            number=query.number or None,
            key=self._key,
            handler=query.handler or None,
            cause=query.cause or None,
            behind=query.behind,
            since=query.since,
            until=query.until,
            bad=query.bad,
            state="over",
        )
        captured = set(map(captured_call, self._captures()))
        return [
            PastCall(
                id=row["id"],
                call_id=row["call_id"],
                began=written_time(row["started_at"]),
                seconds=row["seconds"],
                handler=row["handler"],
                caller=row["caller"],
                called=row["called"],
                cause=row["cause"],
                complaints=complaints(row),
                turns=row["turns"],
                captured=name_of_call(row["call_id"] or "?") in captured,
                recorded=True,
                recording=audio_file(row["recording"]) is not None,
                transcribed=any(transcript_lines(row["transcript"])),
                place=(row["started_at"], row["id"]),
            )
            for row in rows
        ]

    def _rows(self, most: int, **wanted: Any) -> list[dict[str, Any]]:
        from mediaserver.records.database import UnstorableError
        from mediaserver.records.queries import RecordQuery, find_calls

        with self._database() as database:
            try:
                return list(find_calls(database, RecordQuery(**wanted), most=most))
            except UnstorableError:
                return []  # No record can have what is asked for, such as a NUL.

    @contextmanager
    def _database(self) -> Iterator[RecordsDatabase]:
        from mediaserver.records.database import DatabaseAwayError, RecordsDatabase

        try:
            database = RecordsDatabase(self._records or "")
            try:
                yield database
            finally:
                database.close()
        except (ValueError, DatabaseAwayError) as error:
            raise PastCallsError(f"the database of call records cannot be used: {error}") from None

    def _captured(self, query: PastQuery) -> Iterator[PastCall]:
        left = query.limit
        for path in self._captures():
            if not left:
                return
            with suppress(OSError, CaptureError):  # It was deleted meanwhile, or is damaged.
                head = read_capture_head(path)
                name = path.name.removesuffix(SUFFIX)
                if _passes(head, name, query):
                    left -= 1
                    yield PastCall(
                        id=name,
                        call_id=head.call,
                        began=head.began,
                        seconds=None,
                        handler=head.handler,
                        caller=head.caller,
                        called=head.called,
                        captured=True,
                        place=(_began(head), name),
                    )


def audio_file(path: str | None) -> Path | None:
    """Return the path of a recording if it is one, and on this machine."""
    # Whoever can write to the database must not read other files by it.
    if path is None or not path.lower().endswith(RECORDING_SUFFIXES):
        return None
    try:
        with Path(path).open("rb") as file:
            return Path(path) if file.read(4) in _AUDIO else None
    except (OSError, ValueError):
        return None


RECORDING_SUFFIXES: Final = (".wav", ".flac")
"""How the names of recordings end."""

_AUDIO: Final = (b"RIFF", b"fLaC")
"""What they begin with."""


def is_or_ends(number: str, wanted: str) -> bool:
    """Tell whether a number is the wanted one, or ends in the few digits that are wanted."""
    if wanted.isdecimal() and len(wanted) <= SHOWN_DIGITS:
        return (phone_key(number) or "").endswith(wanted)
    return same_number(number, wanted)


def _began(head: CaptureHead) -> datetime:
    try:
        began = datetime.fromisoformat(head.began)
    except ValueError:
        began = datetime.min
    return began if began.tzinfo else began.replace(tzinfo=UTC)


def _apart(began: datetime, path: Path) -> float:
    """Return how far the beginnings of a record and of a capture are apart, in seconds."""
    try:
        return abs((_began(read_capture_head(path)) - began).total_seconds())
    except (OSError, CaptureError):
        return inf


def _passes(head: CaptureHead, name: str, query: PastQuery) -> bool:
    began = _began(head)
    numbers = [head.caller or "", head.called or ""]
    return (
        query.handler in ("", head.handler)
        and (query.behind is None or name < query.behind[1])
        and (query.since is None or began >= query.since)
        and (query.until is None or began < query.until)
        and (not query.number or any(is_or_ends(each, query.number) for each in numbers))
    )
