"""``calls``: the records of calls."""

from __future__ import annotations

import csv
import inspect
import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import typer

from mediaserver.cli.application import fail
from mediaserver.cli.printable import printable, printable_json


if TYPE_CHECKING:
    from mediaserver.records.database import RecordsDatabase
    from mediaserver.records.queries import RecordQuery
    from mediaserver.settings import Settings

calls_app = typer.Typer(
    name="calls",
    help="List, show, export and delete the records of calls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_TURNS_AT_ONCE: Final = 200

_OLDEST: Final = 36_500
"""Days; so that every time is one of the calendar."""

_OF_THE_SERVICE: Final = Path("/var/lib/mediaserver/calls.db")
"""Where the service of deploy/mediaserver.service has it."""

Records = Annotated[
    str | None,
    typer.Option(
        metavar="DATABASE",
        help="Database: on, a path or postgresql://…, as the server's --records. By default"
        " MEDIASERVER_RECORDS, the TOML file, or the file of `on`.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="TOML file of the server; by default mediaserver.toml, if it exists."
    ),
]
OfNumber = Annotated[
    str | None,
    typer.Option(
        help="Calls from or to this number, in any form; or its last digits, such as 0100."
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Calls that began then or later: 2027-01-15, 2027-01-15T08:30 (UTC), or 30m, 2h, 7d"
        " for so long ago.",
    ),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Calls that began before that.")]
Named = Annotated[str | None, typer.Option("--handler", help="Calls of this handler.")]
Cause = Annotated[
    str | None,
    typer.Option(
        help="Calls that ended for this cause, such as plivo, handler_error, lost or process_lost."
    ),
]
State = Annotated[
    Literal["live", "ended", "lost"] | None,
    typer.Option(help="Calls that are live, have ended, or whose process has died."),
]
Bad = Annotated[
    bool, typer.Option("--bad", help="Calls that were bad: gaps, slow answers, faults.")
]
Worse = Annotated[
    list[str] | None,
    typer.Option(
        "--worse-than",
        metavar="MEASURE=VALUE",
        help="Calls that are worse, such as loop_lag=0.2 or underruns=3. Of several, one is"
        " enough.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class _SelectedCalls(NamedTuple):
    settings: Settings
    query: RecordQuery


def _selected_calls(
    number: OfNumber = None,
    since: Since = None,
    until: Until = None,
    handler: Named = None,
    cause: Cause = None,
    state: State = None,
    bad: Bad = False,
    worse_than: Worse = None,
    records: Records = None,
    config: ConfigFile = None,
) -> _SelectedCalls:
    from mediaserver.records.queries import MEASURES, RecordQuery

    settings = _settings(records, config)
    limits = {}
    for text in worse_than or []:
        name, _, value = text.partition("=")
        try:
            limits[name] = float(value)
            if math.isnan(limits[name]):
                raise ValueError
        except ValueError:
            fail(f"--worse-than: must be such as loop_lag=0.2, not {text!r}", 2)
        if name not in MEASURES:
            fail(f"--worse-than: {name!r} is not one of {', '.join(sorted(MEASURES))}", 2)
    if cause is not None:
        _check_cause(cause)
    key = None if settings.secret_is_random else settings.secret.get_secret_value().encode()
    query = RecordQuery(
        number=number,
        key=key,
        since=_time("--since", since),
        until=_time("--until", until),
        handler=handler,
        cause=cause,
        state=state,
        bad=bad,
        worse=limits,
    )
    return _SelectedCalls(settings, query)


def _on_selected_calls(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `_selected_calls`, and their result as its first argument."""
    selecting = inspect.signature(_selected_calls, eval_str=True).parameters
    _, *own = inspect.signature(command, eval_str=True).parameters.values()

    def run(**options: Any) -> None:
        selected = _selected_calls(**{name: options.pop(name) for name in selecting})
        command(selected, **options)

    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature([*own, *selecting.values()])  # type: ignore[attr-defined]
    return run


@calls_app.command("list")
@_on_selected_calls
def list_command(
    selected: _SelectedCalls,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many calls.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List calls, the newest first."""
    with _reading(selected.settings) as database:
        found = list(_found(database, selected.query, most=limit + 1))
    if len(found) > limit:
        del found[limit:]
        typer.echo(f"more calls than {limit} were found: raise --limit", err=True)
    if as_json:
        _print_json([_plain(each) for each in found])
        return
    if not found:
        typer.echo("no calls were found", err=True)
    for line in _table(found):
        typer.echo(printable(line))


@calls_app.command("show")
def show_command(
    call: Annotated[
        str, typer.Argument(metavar="CALL", help="The id of a call, a stream or a record.")
    ],
    as_json: AsJson = False,
    records: Records = None,
    config: ConfigFile = None,
) -> None:
    """Show all that is recorded of a call, and what was bad about it."""
    settings = _settings(records, config)
    with _reading(settings) as database:
        from mediaserver.records.queries import RecordQuery, find_calls, turns_of

        found = list(find_calls(database, RecordQuery(call=call), newest=False))
        turns = turns_of(database, [each["id"] for each in found])
    if not found:
        fail(f"there is no record of {call!r}: `mediaserver calls list` lists calls")
    if as_json:
        _print_json([_plain(each, turns[each["id"]]) for each in found])
        return
    for each in found:
        for line in _page(each, turns[each["id"]]):
            typer.echo(printable(line))


@calls_app.command("export")
@_on_selected_calls
def export_command(
    selected: _SelectedCalls,
    form: Annotated[
        Literal["csv", "jsonl"],
        typer.Option("--format", help="A table, or a JSON object in each line, with the turns."),
    ] = "csv",
) -> None:
    """Print calls for other programs, the oldest first."""
    with _reading(selected.settings) as database:
        found = _found(database, selected.query, newest=False)
        lines = _csv(found) if form == "csv" else _json_lines(database, found)
        for line in lines:
            sys.stdout.write(line)


@calls_app.command("prune")
def prune_command(
    days: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS", help="Older than this; by default the setting `records_days`."
        ),
    ] = None,
    records: Records = None,
    config: ConfigFile = None,
) -> None:
    """Delete the records of calls that began many days ago. A server does so by itself."""
    settings = _settings(records, config)
    days = settings.records_days if days is None else days
    if days is None:
        fail("records_days is off, which keeps all: give --days", 2)
    if not 0 <= days <= _OLDEST:
        fail(f"--days: must be from 0 to {_OLDEST}, not {days:g}", 2)
    before, pruned = datetime.now(UTC) - timedelta(days=days), 0
    with _reading(settings) as database:
        while more := database.prune(before):
            pruned += more
    typer.echo(f"deleted {pruned} record{'' if pruned == 1 else 's'}")


# Arguments


def _settings(records: str | None, config: Path | None) -> Settings:
    """Return the settings, with the database that is there if none is named."""
    from mediaserver.settings import SettingsError, load_settings

    try:
        settings = load_settings({"records": records}, config)
        usual = load_settings({"records": "on"}, config)
        named = settings.records is not None
        settings = settings if named else usual
        path = _file(settings)
        if path is not None and not _is_there(path):
            if path == _file(usual) and _is_there(_OF_THE_SERVICE):
                return load_settings({"records": str(_OF_THE_SERVICE)}, config)
            wrong = f"there is no database {path}" if named else "no database is named"
            more = "" if named else f" (there is no {path})"
            fail(f"{wrong}: set MEDIASERVER_RECORDS or --records as for the server{more}", 2)
    except SettingsError as error:
        fail(str(error), 2)
    return settings


def _file(settings: Settings) -> Path | None:
    """Return the file of the database; None if it has none."""
    scheme, _, path = (settings.records_url or "").partition(":///")
    return Path(path) if scheme == "sqlite" else None


def _is_there(path: Path) -> bool:
    """Tell whether a file exists; fail if this user may not know or not read it."""
    try:
        path.stat()
        may_be_read = os.access(path, os.R_OK)
    except PermissionError:
        may_be_read = False
    except OSError:
        return False
    if not may_be_read:
        fail(f"this user cannot read {path}: run the command as the server's user or root", 2)
    return True


def _check_cause(cause: str) -> None:
    from mediaserver.records.payload import CAUSE_OF_LOST
    from mediaserver.server.ended_calls import CAUSES_OF_END

    known = sorted((*CAUSES_OF_END, CAUSE_OF_LOST))
    if cause not in known:
        fail(f"--cause: {cause!r} is not one of {', '.join(known)}", 2)


def _time(flag: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except ValueError:
        fail(f"{flag}: must be such as 2027-01-15, 2027-01-15T08:30 or 2h, not {text!r}", 2)
    except OverflowError:
        fail(f"{flag}: {text!r} is before the first year of the calendar, or after its last", 2)


@contextmanager
def _reading(settings: Settings) -> Iterator[RecordsDatabase]:
    """Open the database, which is left as it is, and say what is wrong with it."""
    from mediaserver.records.database import DatabaseAwayError, RecordsDatabase, UnstorableError
    from mediaserver.records.migrating import HEAD, version_of

    try:
        database = RecordsDatabase(settings.records_url or "")
        try:
            with database.reading() as connection:
                version = version_of(connection)
            if version is None:
                fail(f"{database.shown} has no tables of call records: a server makes them")
            if version < HEAD:
                fail(
                    f"{database.shown} has tables of version {version}: a server of this version"
                    f" of mediaserver brings them to {HEAD} when it starts"
                )
            yield database
        finally:
            database.close()
    except UnstorableError as error:
        fail(f"the database cannot search for such a value: {error}", 2)
    except (ValueError, DatabaseAwayError) as error:
        fail(f"the database cannot be used: {error}")


def _found(
    database: RecordsDatabase, query: RecordQuery, *, most: int | None = None, newest: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield what is found; if nothing is, say whether calls of this handler are recorded at all."""
    from mediaserver.records.queries import find_calls, recorded_handlers

    is_empty = True
    for each in find_calls(database, query, most=most, newest=newest):
        is_empty = False
        yield each
    if not is_empty or query.handler is None:
        return
    known = recorded_handlers(database)
    if known and query.handler not in known:
        near = get_close_matches(query.handler, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known[:10])}"
        line = f"--handler: no call of {query.handler!r} is recorded; {hint}"
        typer.echo(printable(line), err=True)


# Printing


def _plain(
    call: Mapping[str, Any], turns: Iterable[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    from mediaserver.records.payload import plain_record
    from mediaserver.records.quality import complaints

    plain = plain_record(call, turns)
    plain["complaints"] = complaints(call, list(turns or ()))
    return plain


def _print_json(value: object) -> None:
    import msgspec

    typer.echo(printable_json(msgspec.json.format(msgspec.json.encode(value)).decode()))


def _csv(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    from mediaserver.records.payload import plain_record
    from mediaserver.records.tables import calls

    empty = dict.fromkeys((column.name for column in calls.columns), None)
    names = list(plain_record({**empty, "id": ""}))
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for each in found:
        writer.writerow({name: _cell(value) for name, value in plain_record(each).items()})
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _cell(value: object) -> object:
    # A spreadsheet would run what a caller's name or a reason begins with.
    if isinstance(value, str) and re.match(r"[=@\-\t\r]|\+(?![0-9]+\Z)", value):
        return f"'{value}"
    return value


def _json_lines(database: RecordsDatabase, found: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    import msgspec

    from mediaserver.records.payload import plain_record
    from mediaserver.records.queries import turns_of

    while piece := list(islice(found, _TURNS_AT_ONCE)):
        turns = turns_of(database, [each["id"] for each in piece])
        for each in piece:
            plain = plain_record(each, turns[each["id"]])
            yield printable_json(msgspec.json.encode(plain).decode()) + "\n"


def _table(found: list[dict[str, Any]]) -> Iterator[str]:
    from mediaserver.records.payload import state_of
    from mediaserver.records.quality import complaints

    rows = [("began (UTC)", "state", "seconds", "from", "to", "handler", "end", "bad", "call")]
    for each in found:
        seconds = each["seconds"]
        rows.append(
            (
                each["started_at"].strftime("%Y-%m-%d %H:%M:%S"),
                state_of(each),
                "" if seconds is None else f"{seconds:.1f}",
                each["caller"] or "?",
                each["called"] or "?",
                each["handler"],
                each["cause"] or "",
                str(len(complaints(each)) or ""),
                each["call_id"] or each["id"],
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if found else []:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _page(call: Mapping[str, Any], turns: list[dict[str, Any]]) -> Iterator[str]:
    from mediaserver.records.payload import plain_record
    from mediaserver.records.quality import complaints

    found = complaints(call, turns)
    yield f"call {call['call_id'] or '?'}"
    yield from (f"  ! {sentence}" for sentence in found)
    if not found:
        yield "  nothing was bad" if call["ended_at"] else "  nothing is known to be bad yet"
    for name, value in plain_record(call).items():
        if value not in (None, 0, "") and name != "call_id":
            yield f"  {name:24}{value}"
    if turns:
        yield "  turns, in seconds after the caller's last word:"
        yield from _turn_lines(turns)
    yield ""


_STAGES: Final = {
    "end_of_turn": "end of turn",
    "transcript": "transcript",
    "first_token": "first token",
    "audio_sent": "audio sent",
    "audio_heard": "heard",
}


def _turn_lines(turns: list[dict[str, Any]]) -> Iterator[str]:
    for turn in turns:
        times = ", ".join(
            f"{text} {turn[stage]:.2f}"
            for stage, text in _STAGES.items()
            if turn[stage] is not None
        )
        notes = [f"{turn['heard_words']} words heard"]
        if turn["interrupted"]:
            notes.append("interrupted")
        if turn["error"]:
            notes.append(f"failed: {turn['error']}")
        yield f"    {turn['number']:3}  {'; '.join([times, *notes] if times else notes)}"
        for who in ("caller", "agent"):
            if turn[who]:
                yield f"         {who}: {turn[who]}"
