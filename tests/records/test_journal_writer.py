import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mediaserver.records.events import decode_events, encode_events
from mediaserver.records.journal import Journal
from mediaserver.records.journal_writer import JournalFigures, JournalWriter
from tests.records.conftest import began, over


class FullDisk:
    """Takes a number of bytes of each write, or none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.takes: int | None = None
        self._write = os.write
        monkeypatch.setattr("mediaserver.records.journal.os.write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        if self.takes == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(descriptor, data[: self.takes])


def writer(journal: Journal, most_bytes: int = 1_000_000) -> tuple[JournalWriter, Any]:
    figures = JournalFigures()
    return JournalWriter(journal, figures, most_bytes=most_bytes), figures


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    made = Journal(tmp_path)
    yield made
    made.close(remove=False)


def written(journal: Journal) -> Any:
    lines = b"".join(each.read_bytes() for each in sorted(journal.path.glob("*.jsonl")))
    return decode_events(lines)


def test_events_are_written_by_a_thread(
    journal: Journal, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    own, figures = writer(journal)
    own.start()
    own.put(began())
    wait_until(lambda: figures.written)
    own.put(over())
    assert own.close(60)
    assert written(journal) == ([began(), over()], 0)
    assert figures.bytes == len(encode_events([began(), over()]))


def test_only_the_event_of_which_no_line_can_be_made_is_lost(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    own, figures = writer(journal)
    own.put(began())
    own.put(over("torn", counts={"underruns": object()}))
    own.put(over())
    own.step()
    assert written(journal) == ([began(), over()], 0)
    assert figures.dropped == {"journal": 0, "disk": 0, "event": 1}
    assert "no line of the journal can be made of it" in caplog.text
    assert "torn" in caplog.text


def test_a_batch_of_which_no_line_can_be_made_holds_up_nothing(journal: Journal) -> None:
    own, figures = writer(journal)
    for _ in range(1_000):
        own.put(over("torn", counts={"underruns": object()}))
    own.put(over())
    own.step()
    assert written(journal) == ([over()], 0)
    assert figures.dropped["event"] == 1_000


def test_a_disk_that_is_full_loses_nothing_that_fits_in_memory(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk(monkeypatch)
    own, figures = writer(journal)
    disk.takes = 0
    own.put(began())
    for _ in range(3):
        own.step()
    assert figures.failing
    assert len([each for each in caplog.records if "cannot be written" in each.message]) == 1
    assert "No space left on device" in caplog.text
    own.put(over())
    disk.takes = 7
    own.step()
    assert not figures.failing
    assert written(journal) == ([began(), over()], 0)
    assert not figures.dropped.total()


def test_what_does_not_fit_in_memory_is_counted_and_logged_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mediaserver.records.journal_writer._MOST_EVENTS", 3)
    own, figures = writer(journal)
    for _ in range(5):
        own.put(began())
    assert figures.dropped == Counter(disk=2)
    assert len(caplog.records) == 1
    assert "memory is full" in caplog.text
    own.step()
    assert written(journal) == ([began()] * 3, 0)


def test_what_the_disk_does_not_take_until_the_end_is_counted(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk(monkeypatch)
    disk.takes = 0
    own, figures = writer(journal)
    own.put(began("a"))
    # Lines that are made wait as well as events.
    own.step()
    own.put(began("b"))
    own.put(began("c"))
    own.start()
    assert own.close(60)
    assert figures.dropped == Counter(disk=3)
    assert "the disk took none until the end" in caplog.text
    assert "events=3" in caplog.text


def test_a_journal_that_is_full_drops_and_counts_what_comes(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    own, figures = writer(journal, most_bytes=10)
    own.put(began("a"))
    own.step()
    own.put(began("b"))
    own.put(began("c"))
    own.step()
    assert written(journal) == ([began("a")], 0)
    assert figures.dropped == Counter(journal=2)
    assert "records are lost" in caplog.text
    figures.deleted = figures.written
    own.put(began("d"))
    own.step()
    assert written(journal) == ([began("a"), began("d")], 0)


def test_journals_of_other_processes_count_as_well(journal: Journal) -> None:
    own, figures = writer(journal, most_bytes=1_000)
    figures.others = 1_000
    own.put(began())
    own.step()
    assert figures.dropped == Counter(journal=1)


def test_a_fault_that_nobody_foresaw_ends_no_thread(
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[[Callable[[], object]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    own, _ = writer(journal)
    monkeypatch.setattr(journal, "roll", lambda: 1 / 0)
    own.start()
    own.put(began())
    wait_until(lambda: "could not be written to the journal" in caplog.text)
    monkeypatch.undo()
    assert own.close(60)
    assert written(journal) == ([began()], 0)
