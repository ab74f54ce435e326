import logging
from typing import Any

import structlog
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.telemetry.line_formatting import LineFormatter, render_plain


_VALUES = st.one_of(
    st.text("ab =\"'\n\t\r…", max_size=6), st.integers(), st.none(), st.floats(), st.booleans()
)
_EVENTS = st.fixed_dictionaries(
    {"event": st.text(max_size=40)},
    optional={
        "timestamp": st.just("2026-11-29T22:36:48.008432Z"),
        "level": st.sampled_from(["info", "critical"]),
        "stack": st.just("Stack:\n  line"),
        "exception": st.just("Traceback:\n  line"),
        "call": _VALUES,
        "a": _VALUES,
    },
)


@given(event=_EVENTS)
def test_a_line_is_as_structlog_writes_it(event: dict[str, Any]) -> None:
    console = structlog.dev.ConsoleRenderer(colors=False)
    assert render_plain(None, "info", event.copy()) == console(None, "info", event.copy())


def formatter() -> LineFormatter:
    def named(logger: Any, method: str, event: Any) -> Any:
        return {**event, "foreign": True}

    return LineFormatter([named], [lambda logger, method, event: f"{method} {event}"])


def test_an_event_of_structlog_passes_the_last_processors_alone() -> None:
    record = logging.makeLogRecord({"msg": {"event": "a"}, "_name": "info", "_logger": None})
    assert formatter().format(record) == "info {'event': 'a'}"
    assert record.msg == {"event": "a"}


def test_a_foreign_record_passes_the_first_processors_as_well() -> None:
    record = logging.makeLogRecord({"msg": "%s b", "args": ("a",), "levelname": "ERROR"})
    assert formatter().format(record) == "error {'event': 'a b', 'foreign': True}"
