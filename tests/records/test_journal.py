import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from mediaserver.records.journal import (
    SEGMENT_BYTES,
    Journal,
    JournalError,
    JournalReader,
    JournalUnreadableError,
    dead_journals,
    size_of_journals,
)


def reader_of(journal: Journal) -> JournalReader:
    return JournalReader(journal.path, last=lambda: journal.segment)


def read_all(reader: JournalReader) -> bytes:
    lines = b""
    while piece := reader.read(100):
        lines += piece
        reader.done()
    return lines


def leave(journal: Journal) -> None:
    """Do what the kernel does when a process is killed."""
    os.close(journal.lock)


def test_lines_are_read_in_order_once_they_are_done_with(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    reader = reader_of(journal)
    assert reader.read(100) == b""
    journal.append(b"1\n2\n")
    assert reader.read(100) == reader.read(100) == b"1\n2\n"
    reader.done()
    journal.append(b"3\n")
    assert reader.read(100) == b"3\n"
    journal.close(remove=False)


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    reader = reader_of(journal)
    journal.append(b"1\n2")
    assert read_all(reader) == b"1\n"
    journal.append(b"2\n")
    assert read_all(reader) == b"22\n"
    journal.close(remove=False)


def test_a_piece_ends_with_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"a" * 60 + b"\n" + b"b" * 60 + b"\nc\n")
    assert reader_of(journal).read(100) == b"a" * 60 + b"\n" + b"b" * 60 + b"\n"
    journal.close(remove=False)


def test_a_large_segment_is_closed_and_deleted_once_it_is_done_with(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    reader = reader_of(journal)
    journal.append(b"x" * SEGMENT_BYTES + b"\n")
    journal.roll()
    journal.append(b"y\n")
    assert len(list(journal.path.glob("*.jsonl"))) == 2
    assert read_all(reader).endswith(b"x\ny\n")
    assert [each.read_bytes() for each in journal.path.glob("*.jsonl")] == [b"y\n"]
    assert reader.deleted == SEGMENT_BYTES + 1
    journal.close(remove=False)


def test_a_segment_is_kept_by_the_disk_before_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda file: synced.append(os.fstat(file).st_size))
    journal = Journal(tmp_path)
    journal.append(b"x" * SEGMENT_BYTES + b"\n")
    journal.roll()
    assert synced == [SEGMENT_BYTES + 1]
    journal.close(remove=False)


def test_the_journal_of_a_live_process_is_left_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert dead_journals(tmp_path) == []
    journal.close(remove=False)


def test_the_journal_of_a_dead_process_is_taken_up_by_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"1\n2\nto")
    os.utime(journal.path / "lock", (1_800_000_000, 1_800_000_000))
    leave(journal)
    (dead,) = dead_journals(tmp_path)
    assert dead.died_at == 1_800_000_000
    assert dead_journals(tmp_path) == []
    # The process was killed while it wrote the last line.
    assert read_all(dead) == b"1\n2\nto"
    dead.remove()
    assert list(tmp_path.iterdir()) == []
    journal.end_segment()


def test_a_dead_journal_can_be_left_to_another_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    leave(journal)
    (dead,) = dead_journals(tmp_path)
    dead.release()
    dead.release()
    (again,) = dead_journals(tmp_path)
    again.remove()


def test_a_journal_of_which_nothing_is_left_is_removed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    reader = reader_of(journal)
    journal.append(b"1\n")
    journal.end_segment()
    assert read_all(reader) == b"1\n"
    journal.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_a_journal_with_lines_is_not_removed_and_is_found_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"1\n")
    journal.close(remove=True)
    (dead,) = dead_journals(tmp_path)
    dead.remove()
    (again,) = dead_journals(tmp_path)
    assert read_all(again) == b"1\n"
    again.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_segment_that_cannot_be_read_is_not_taken_for_the_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    reader = reader_of(journal)
    journal.append(b"1\n")
    journal.end_segment()
    unreadable = journal.path / "00000003.jsonl"
    unreadable.mkdir()
    with pytest.raises(JournalUnreadableError, match=r"00000003\.jsonl: Is a directory"):
        read_all(reader)
    unreadable.rmdir()
    journal.append(b"2\n")
    assert read_all(reader) == b"2\n"
    journal.close(remove=False)


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptors(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    journal = Journal(tmp_path)
    journal.append(b"1\n")
    with monkeypatch.context() as patched:
        patched.setattr("os.listdir", no_descriptors)
        patched.setattr("os.scandir", no_descriptors)
        with pytest.raises(JournalUnreadableError, match="Too many open files"):
            reader_of(journal).read(100)
        journal.close(remove=True)
    assert len(dead_journals(tmp_path)) == 1


def test_a_reader_goes_on_behind_a_segment_that_another_process_has_dealt_with(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path)
    reader = reader_of(journal)
    journal.append(b"1\n")
    assert reader.read(100) == b"1\n"
    journal.end_segment()
    (journal.path / "00000001.jsonl").unlink()
    journal.append(b"2\n")
    with pytest.raises(JournalUnreadableError):
        reader.read(100)
    assert reader.read(100) == b"2\n"
    journal.close(remove=False)


def test_only_the_own_user_may_read_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journals")
    journal.append(b"1\n")
    for path in (journal.path, journal.path / "00000001.jsonl", tmp_path / "journals"):
        assert path.stat().st_mode & 0o077 == 0
    journal.close(remove=False)


def test_other_journals_are_counted(tmp_path: Path) -> None:
    one, other = Journal(tmp_path), Journal(tmp_path)
    one.append(b"123\n")
    other.append(b"12345\n")
    assert size_of_journals(tmp_path, without=one.name) == 6
    one.close(remove=False)
    other.close(remove=False)


def test_a_folder_that_cannot_be_read_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptors(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Path, "glob", no_descriptors)
    assert size_of_journals(tmp_path, without="mine") == 0


def test_a_sync_and_a_beat_need_no_segment(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    os.utime(journal.path / "lock", (1, 1))
    journal.sync()
    journal.beat()
    assert (journal.path / "lock").stat().st_mtime > 1
    journal.append(b"1\n")
    journal.sync()
    journal.close(remove=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"journals: Not a directory; --records-journal"):
        Journal(tmp_path / "file" / "journals")
