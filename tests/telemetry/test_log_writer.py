import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from mediaserver.telemetry.log_writer import LogWriter
from mediaserver.telemetry.logs import default_logs


LIMIT = 30.0
"""Seconds that a test waits at most."""


class Reader:
    """Takes what is written once it is let go."""

    def __init__(self) -> None:
        self.text = b""
        self.may_read = threading.Event()

    def write(self, _descriptor: int, data: bytes) -> int:
        assert self.may_read.wait(LIMIT)
        self.text += data[:7]
        return min(len(data), 7)


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.may_read.set()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.Logger("test")
    yield logger
    for handler in logger.handlers:
        handler.close()


def flushed(writer: LogWriter) -> None:
    for _ in range(100):
        writer.flush()
        if not writer.waiting:
            return
    raise AssertionError("the thread has not written everything")


def test_lines_come_in_order_and_whole(reader: Reader, logger: logging.Logger) -> None:
    writer = LogWriter(-1, write=reader.write)
    logger.addHandler(writer)
    reader.may_read.set()
    for number in range(200):
        logger.error("line %d ä", number)
    flushed(writer)
    assert reader.text.decode().splitlines() == [f"line {number} ä" for number in range(200)]


def test_lines_that_wait_are_written_together(logger: logging.Logger) -> None:
    writes: list[bytes] = []
    may_write, begun = threading.Event(), threading.Event()

    def write(_descriptor: int, data: bytes) -> int:
        begun.set()
        assert may_write.wait(LIMIT)
        writes.append(data)
        return len(data)

    writer = LogWriter(-1, write=write)
    logger.addHandler(writer)
    logger.error("first")
    assert begun.wait(LIMIT)
    for _ in range(20):
        logger.error("x" * 1_999)
    may_write.set()
    flushed(writer)
    # At most 4,096 bytes at once, which no other process that writes to the same pipe divides.
    assert [len(data) for data in writes] == [6] + 10 * [2 * 2_000]


def test_lines_of_a_moment_are_written_together_and_errors_at_once(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediaserver.telemetry.log_writer._GATHERS", 2 * LIMIT)
    writes: list[bytes] = []
    written = threading.Event()

    def write(_descriptor: int, data: bytes) -> int:
        writes.append(data)
        written.set()
        return len(data)

    writer = LogWriter(-1, write=write)
    logger.addHandler(writer)
    logger.info("first")
    flushed(writer)
    writes.clear()
    written.clear()
    for number in range(3):
        logger.info("line %d", number)
    assert writes == []
    logger.error("an error")
    assert written.wait(LIMIT)
    assert writes == [b"line 0\nline 1\nline 2\nan error\n"]


def test_a_reader_that_has_stopped_blocks_nobody(reader: Reader, logger: logging.Logger) -> None:
    writer = LogWriter(-1, limit=1_000, write=reader.write)
    logger.addHandler(writer)
    for _ in range(100):
        logger.error("x" * 99)
    assert writer.dropped == 90
    reader.may_read.set()
    flushed(writer)
    assert reader.text == (b"x" * 99 + b"\n") * 10


def test_the_number_of_dropped_lines_is_told_once_the_reader_goes_on(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog.reset_defaults()
    default_logs()
    root = logging.getLogger()
    writer = LogWriter(-1, limit=1_000, write=reader.write)
    monkeypatch.setattr(root, "handlers", [writer])
    told = threading.Event()
    original = writer.emit

    def emit(record: logging.LogRecord) -> None:
        original(record)
        if "dropped" in record.getMessage():
            told.set()

    monkeypatch.setattr(writer, "emit", emit)
    for _ in range(11):
        root.error("x" * 99)
    assert not told.is_set()
    reader.may_read.set()
    assert told.wait(LIMIT)
    flushed(writer)
    assert b"log lines were dropped" in reader.text
    assert b"lines=1" in reader.text
    writer.close()


def test_the_end_waits_for_the_line_that_tells_how_many_were_dropped(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog.reset_defaults()
    default_logs()
    writer = LogWriter(-1, limit=1_000, write=reader.write)
    monkeypatch.setattr(logging.getLogger(), "handlers", [writer])
    for _ in range(13):
        logging.getLogger().error("x" * 99)
    ended = threading.Thread(target=flushed, args=(writer,))
    ended.start()
    reader.may_read.set()
    ended.join(LIMIT)
    assert b"lines=3" in reader.text
    writer.close()


def test_the_end_waits_for_a_reader_that_has_stopped_only_a_moment(
    reader: Reader, logger: logging.Logger
) -> None:
    writer = LogWriter(-1, write=reader.write)
    logger.addHandler(writer)
    logger.error("unread")
    writer.flush()
    assert reader.text == b""


def test_a_line_that_cannot_be_written_is_counted(logger: logging.Logger) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    writer = LogWriter(theirs)
    logger.addHandler(writer)
    logger.error("to nobody")
    flushed(writer)
    assert writer.dropped == 1
    os.close(theirs)


def test_a_pipe_that_does_not_block_is_waited_for(logger: logging.Logger) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    writer = LogWriter(theirs)
    logger.addHandler(writer)
    logger.error("x" * 1_000_000)
    with open(ours, "rb") as pipe:
        assert len(pipe.read(1_000_001)) == 1_000_001
    flushed(writer)
    writer.close()
    os.close(theirs)


def test_a_message_that_cannot_be_formatted_is_a_line(
    reader: Reader, logger: logging.Logger
) -> None:
    writer = LogWriter(-1, write=reader.write)
    logger.addHandler(writer)
    reader.may_read.set()
    logger.error("%d", "no number")
    flushed(writer)
    assert reader.text.startswith(b"a log message could not be formatted: ")


def test_a_line_after_the_end_is_written_at_once(logger: logging.Logger) -> None:
    ours, theirs = os.pipe()
    writer = LogWriter(theirs)
    logger.addHandler(writer)
    writer.close()
    logger.error("late")
    assert os.read(ours, 100) == b"late\n"
    os.close(ours)
    logger.error("too late")
    os.close(theirs)


PROGRAM = """
import structlog, sys
from mediaserver.telemetry.logs import configure_logs
configure_logs("info", sys.argv[1])
for number in range(int(sys.argv[2])):
    structlog.get_logger().info("line", number=number, fill="x" * 1000)
print("done", flush=True)
"""


def run(*arguments: Any, **options: Any) -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_process_that_ends_has_written_everything(form: str) -> None:
    with run(form, 50) as process:
        _, errors = process.communicate(timeout=LIMIT)
    assert len(errors.splitlines()) == 50


def test_a_process_ends_though_nobody_reads_its_log() -> None:
    with run("json", 2_000) as process:
        assert process.stdout.readline() == b"done\n"
        assert process.wait(LIMIT) == 0


def test_a_process_ends_though_the_reader_has_gone(tmp_path: Path) -> None:
    with run("json", 2_000) as process:
        process.stderr.close()
        assert process.stdout.readline() == b"done\n"
        assert process.wait(LIMIT) == 0
