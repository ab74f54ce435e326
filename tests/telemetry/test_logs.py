import contextlib
import io
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from mediaserver.telemetry.log_writer import LogWriter
from mediaserver.telemetry.logs import AUDIT, MAX_VALUE, configure_logs, dropped_lines


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("uvicorn.error", "websockets", "asyncio", AUDIT)
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> Any:
    return io.StringIO()


def entries(stream: Any) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_audit_is_written_at_every_level(stream: Any) -> None:
    configure_logs("error", "json", stream)
    for name in ("mediaserver.calls", AUDIT):
        structlog.get_logger(name).info("noted", logger=name)
    assert [each["logger"] for each in entries(stream)] == [AUDIT]


def test_json_is_one_object_a_line(stream: Any) -> None:
    configure_logs("info", "json", stream)
    structlog.get_logger().info("call started", call="c-1")
    (entry,) = entries(stream)
    assert entry["event"] == "call started"
    assert entry["call"] == "c-1"
    assert entry["level"] == "info"
    assert entry["timestamp"].endswith("Z")


def test_console_lines_are_for_people(stream: Any) -> None:
    configure_logs("info", "console", stream)
    structlog.get_logger().info("call started", call="c-1")
    assert "call started" in stream.getvalue()
    assert "call=c-1" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_messages_below_the_level_are_left_out(stream: Any) -> None:
    configure_logs("warning", "json", stream)
    structlog.get_logger().info("no")
    logging.getLogger("anything").info("no")
    structlog.get_logger().warning("yes")
    assert [entry["event"] for entry in entries(stream)] == ["yes"]


def test_messages_of_libraries_look_the_same(stream: Any) -> None:
    configure_logs("info", "json", stream)
    logging.getLogger("uvicorn.error").error("port %d is odd", 81)
    (entry,) = entries(stream)
    assert (entry["event"], entry["level"]) == ("port 81 is odd", "error")


def test_chatter_of_libraries_is_left_out(stream: Any) -> None:
    configure_logs("info", "json", stream)
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("websockets.server").info("connection open")
    assert entries(stream) == []


def test_bound_ids_are_on_every_line(stream: Any) -> None:
    configure_logs("info", "json", stream)
    with structlog.contextvars.bound_contextvars(call="c-1"):
        structlog.get_logger().info("one")
        logging.getLogger("library").warning("two")
    assert [entry["call"] for entry in entries(stream)] == ["c-1", "c-1"]


def test_the_token_of_a_stream_url_is_redacted(stream: Any) -> None:
    configure_logs("info", "json", stream)
    structlog.get_logger().info("refused", url="wss://h/stream?a=1&token=abc.def-_g&b=2")
    logging.getLogger("uvicorn.access").warning("GET %s", "/stream?token=abc.def")
    text = stream.getvalue()
    assert "abc.def" not in text
    assert entries(stream)[0]["url"] == "wss://h/stream?a=1&token=…&b=2"


def test_each_line_of_a_worker_has_its_name(stream: Any) -> None:
    configure_logs("info", "json", stream, worker="2.1")
    structlog.get_logger().info("ready")
    logging.getLogger("a.library").warning("a library's")
    assert [entry["worker"] for entry in entries(stream)] == ["2.1", "2.1"]


def raise_with_secret() -> None:
    secret = "the secret itself"
    raise RuntimeError(f"failed after {len(secret)}")


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_has_no_values_of_variables(stream: Any, form: Any) -> None:
    configure_logs("info", form, stream)
    try:
        raise_with_secret()
    except RuntimeError:
        structlog.get_logger().exception("handler failed")
    text = stream.getvalue()
    assert "failed after 17" in text
    assert "raise_with_secret" in text
    assert text.count("the secret itself") == 0


@pytest.mark.parametrize("form", ["console", "json"])
def test_what_is_no_json_is_logged_all_the_same(stream: Any, form: Any) -> None:
    configure_logs("info", form, stream)
    structlog.get_logger().info("odd", value=object(), raw=b"\xff")
    assert "odd" in stream.getvalue()


def test_configuring_again_replaces_the_stream(stream: Any) -> None:
    configure_logs("info", "json", io.StringIO())
    configure_logs("info", "json", stream)
    structlog.get_logger().info("once")
    assert len(entries(stream)) == 1


def test_a_long_text_is_cut_and_says_so(stream: Any) -> None:
    configure_logs("info", "json", stream)
    structlog.get_logger().warning("told", reason="x" * 60_000, short="y" * MAX_VALUE)
    logging.getLogger("library").warning("z" * 60_000)
    first, second = entries(stream)
    assert first["reason"] == "x" * MAX_VALUE + "… (60000 characters)"
    assert first["short"] == "y" * MAX_VALUE
    assert second["event"].startswith("z" * MAX_VALUE + "…")


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_is_longer_than_other_texts(stream: Any, form: Any) -> None:
    configure_logs("info", form, stream)
    try:
        raise RuntimeError("x" * 3 * MAX_VALUE)
    except RuntimeError:
        structlog.get_logger().exception("handler failed")
    assert "x" * 3 * MAX_VALUE in stream.getvalue()


async def never_awaited() -> None:
    """Awaited by nobody."""


@pytest.mark.filterwarnings("always::RuntimeWarning", "always::UserWarning")
def test_a_warning_of_pythons_is_a_line_of_the_log(stream: Any) -> None:
    configure_logs("info", "json", stream)
    never_awaited()  # type: ignore[unused-coroutine]
    warnings.warn("mind the gap", UserWarning, stacklevel=1)
    first, second = entries(stream)
    assert first["event"] == "coroutine 'never_awaited' was never awaited"
    assert (first["level"], first["kind"]) == ("warning", "RuntimeWarning")
    assert second["event"] == "mind the gap"
    assert "test_logs.py" in second["where"]


class Falls:
    def __del__(self) -> None:
        raise RuntimeError("in the finaliser")


def test_an_exception_in_a_finaliser_is_a_line_of_the_log(stream: Any) -> None:
    configure_logs("info", "json", stream)
    Falls()
    (entry,) = entries(stream)
    assert entry["level"] == "error"
    assert "in the finaliser" in entry["exception"]
    assert "Falls.__del__" in entry["by"]


def test_an_exception_that_ends_a_thread_is_a_line_of_the_log(stream: Any) -> None:
    configure_logs("info", "json", stream)
    thread = threading.Thread(target=raise_with_secret, name="worker")
    thread.start()
    thread.join(30)
    (entry,) = entries(stream)
    assert (entry["event"], entry["thread"]) == ("a thread failed", "worker")
    assert "failed after 17" in entry["exception"]


def test_lines_that_were_dropped_are_counted() -> None:
    logging.getLogger().handlers[:] = [writer := LogWriter(-1)]
    writer.dropped = 3
    assert dropped_lines() == 3


@pytest.mark.parametrize(("variable", "coloured"), [(None, True), ("", True), ("1", False)])
def test_a_terminal_has_colours_unless_no_color_is_set(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable is not None:
        monkeypatch.setenv("NO_COLOR", variable)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    configure_logs("info", stream=stream)
    structlog.get_logger("test").info("hello")
    assert ("\x1b[" in stream.getvalue()) is coloured


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_of_many_frames_is_logged_without_its_middle(stream: Any, form: Any) -> None:
    configure_logs("info", form, stream)
    constant = RuntimeError("constant")
    for _ in range(500):
        with contextlib.suppress(RuntimeError):
            raise constant
    structlog.get_logger().error("handler failed", exc_info=constant)
    assert "frames in the middle are left out" in stream.getvalue()
