import asyncio
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from audiocodecs import MULAW_8K
from mediaserver.captures import capture_writer
from mediaserver.captures.capture_file import read_capture
from mediaserver.captures.capture_folder import CaptureFolder
from mediaserver.captures.capture_lines import Capture, CaptureError, CaptureHead
from mediaserver.captures.capture_writer import CaptureWriter
from mediaserver.captures.kept_wire import KeptWire
from mediaserver.captures.wire_redaction import WireRedaction
from mediaserver.testing import in_virtual_time


def wire(call: str = "call-1") -> KeptWire:
    return KeptWire(
        CaptureHead(call=call, began="2026-11-30T09:15:00+00:00"),
        asyncio.get_running_loop().time,
        WireRedaction((), MULAW_8K),
    )


def writer(folder: Path, **options: Any) -> CaptureWriter:
    return CaptureWriter(CaptureFolder(folder), **{"most_bytes": 10**9, **options})


def captures(folder: Path) -> list[Capture]:
    return [read_capture(path) for path in sorted(folder.glob("*.wire.zst"))]


@in_virtual_time
async def test_what_was_noted_is_in_the_file_a_second_later(tmp_path: Path) -> None:
    writing = writer(tmp_path)
    async with writing.running():
        kept = wire()
        writing.add(kept)
        kept.sent(b"one")
        assert captures(tmp_path) == []
        await asyncio.sleep(1.01)
        kept.sent(b"two")
        (capture,) = captures(tmp_path)
        assert [line.message for line in capture.lines] == [b"one"]
        await asyncio.sleep(1)
        (capture,) = captures(tmp_path)
        assert [line.message for line in capture.lines] == [b"one", b"two"]
        assert not capture.whole
    assert writing.figures.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.zst"))


@in_virtual_time
async def test_the_rest_is_written_at_the_end(tmp_path: Path) -> None:
    writing = writer(tmp_path)
    async with writing.running():
        for call in ("call-1", "call-2"):
            kept = wire(call)
            writing.add(kept)
            kept.end("stop")
    assert [(each.head.call, each.whole) for each in captures(tmp_path)] == [
        ("call-1", True),
        ("call-2", True),
    ]
    assert writing.figures.calls == 2


@in_virtual_time
async def test_a_call_that_ends_while_its_last_second_is_written_keeps_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = writer(tmp_path)
    async with writing.running():
        kept = wire()
        append = writing.folder.append

        def ends_meanwhile(path: Path, data: bytes) -> None:
            append(path, data)
            kept.end("stop")

        monkeypatch.setattr(writing.folder, "append", ends_meanwhile)
        writing.add(kept)
        kept.sent(b"one")
        await asyncio.sleep(3)
        (capture,) = captures(tmp_path)
        assert capture.whole


@in_virtual_time
async def test_a_call_of_which_nothing_was_written_can_be_dropped(tmp_path: Path) -> None:
    writing = writer(tmp_path)
    async with writing.running():
        dropped, kept = wire(), wire()
        for each in (dropped, kept):
            writing.add(each)
            each.sent(b"one")
        writing.discard(dropped)
        await asyncio.sleep(1.01)
        writing.discard(kept)
        writing.discard(wire())
    assert len(captures(tmp_path)) == writing.figures.calls == 1


@in_virtual_time
async def test_a_disk_that_takes_nothing_ends_a_capture_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Path:
        raise OSError(28, "No space left on device")

    writing = writer(tmp_path)
    with capture_logs() as logs:
        async with writing.running():
            monkeypatch.setattr(writing.folder, "create", full)
            lost = [wire(f"call-{number}") for number in range(2)]
            for kept in lost:
                writing.add(kept)
                kept.sent(b"one")
            await asyncio.sleep(1.01)
            monkeypatch.undo()
            kept = wire("call-3")
            writing.add(kept)
            kept.sent(b"one")
            lost[0].sent(b"two")
            assert lost[0].waiting == 0
    assert [each.head.call for each in captures(tmp_path)] == ["call-3"]
    assert writing.figures.failed == 2
    assert [(each["event"], each["reason"]) for each in logs] == [
        ("a call is not captured any more", "No space left on device")
    ]


@in_virtual_time
async def test_what_is_wrong_with_one_call_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bytes:
        raise RecursionError("nested too deeply")

    writing = writer(tmp_path)
    with capture_logs() as logs:
        async with writing.running():
            for name in ("call-1", "call-2"):
                kept = wire(name)
                writing.add(kept)
                kept.sent(b"one")
                if name == "call-1":
                    monkeypatch.setattr(KeptWire, "lines", broken)
                    await asyncio.sleep(1.01)
                    monkeypatch.undo()
    assert [each.head.call for each in captures(tmp_path)] == ["call-2"]
    assert [each["reason"] for each in logs] == ["nested too deeply"]


@in_virtual_time
async def test_a_capture_that_somebody_deletes_is_given_up(tmp_path: Path) -> None:
    writing = writer(tmp_path)
    with capture_logs() as logs:
        async with writing.running():
            kept = wire()
            writing.add(kept)
            kept.sent(b"one")
            await asyncio.sleep(1.01)
            for path in tmp_path.glob("*.zst"):
                path.unlink()
            kept.sent(b"two")
    assert captures(tmp_path) == []
    assert [each["reason"] for each in logs] == ["its file was deleted"]


@in_virtual_time
async def test_requests_that_cannot_be_read_harm_no_capture(tmp_path: Path) -> None:
    writing = writer(tmp_path)
    async with writing.running():
        (tmp_path / "next").rmdir()
        (tmp_path / "next").write_text("")
        kept = wire()
        writing.add(kept)
        kept.sent(b"one")
        await asyncio.sleep(1.01)
    assert len(captures(tmp_path)) == 1


async def test_messages_are_lost_rather_than_memory_while_the_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_writer, "WRITE_SECONDS", 0.01)
    monkeypatch.setattr(capture_writer, "MOST_WAITING", 10)
    writing = writer(tmp_path)
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()
    write = writing.write

    def slow() -> None:
        if not go_on.is_set():
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        write()

    monkeypatch.setattr(writing, "write", slow)
    with capture_logs() as logs:
        async with writing.running():
            kept = wire()
            writing.add(kept)
            kept.sent(b"one")
            async with asyncio.timeout(30):
                while not kept.full:
                    kept.sent(b"more")
                    await asyncio.sleep(0.01)
            kept.sent(b"lost")
            go_on.set()
    (capture,) = captures(tmp_path)
    messages = [line.message for line in capture.lines]
    assert messages[0] == b"one"
    assert b"lost" not in messages
    assert logs[0]["event"] == "captures are written too slowly: messages are lost"


@in_virtual_time
async def test_old_captures_make_room(tmp_path: Path) -> None:
    writing = writer(tmp_path, most_bytes=3_500)
    async with writing.running():
        old, live = wire("old"), wire("live")
        for each in (old, live):
            writing.add(each)
            each.received(noise())
        old.end("stop")
        await asyncio.sleep(5)
        assert [each.head.call for each in captures(tmp_path)] == ["live", "old"]
        live.received(noise())
        await asyncio.sleep(1.01)
    assert [each.head.call for each in captures(tmp_path)] == ["live"]
    assert (writing.figures.deleted, writing.figures.full) == (1, 0)


def noise(size: int = 1_000) -> bytes:
    """What takes about as many bytes in a file."""
    return random.Random(size).randbytes(size).replace(b"\n", b"\0")


@in_virtual_time
async def test_captures_of_live_calls_end_where_nothing_else_makes_room(tmp_path: Path) -> None:
    writing = writer(tmp_path, most_bytes=5_000)
    with capture_logs() as logs:
        async with writing.running():
            calls = [wire(f"call-{number}") for number in range(2)]
            for each in calls:
                writing.add(each)
            for _ in range(4):
                for each in calls:
                    each.received(noise())
                await asyncio.sleep(1.01)
            assert all(each.ended for each in calls)
            for each in calls:
                each.received(noise())
                each.end("stop")
                assert each.waiting == 0
    assert [(each.full, each.whole) for each in captures(tmp_path)] == [(True, False)] * 2
    assert all(each.lines[-1].message == b'{"what":"capture full"}' for each in captures(tmp_path))
    assert sum(path.stat().st_size for path in tmp_path.glob("*.zst")) < 5_000 + 200
    assert writing.figures.full == 2
    assert [each["event"] for each in logs] == [
        "captures of live calls end: they take all of capture_megabytes"
    ]


@in_virtual_time
async def test_a_call_after_those_that_filled_the_folder_is_captured(tmp_path: Path) -> None:
    writing = writer(tmp_path, most_bytes=3_000)
    async with writing.running():
        for name in ("full", "none"):
            kept = wire(name)
            writing.add(kept)
            kept.received(noise(2_000 if name == "full" else 5_000))
            await asyncio.sleep(1.01)
        kept = wire("next")
        writing.add(kept)
        kept.received(noise(2_000))
        kept.end("stop")
        await asyncio.sleep(1.01)
    # Of one that never fitted there is no file.
    assert [each.head.call for each in captures(tmp_path)] == ["full"]
    assert writing.figures.full == 2


@in_virtual_time
async def test_what_a_process_wrote_before_counts(tmp_path: Path) -> None:
    for _ in range(2):
        writing = writer(tmp_path, most_bytes=3_000)
        async with writing.running():
            kept = wire()
            writing.add(kept)
            kept.received(noise(2_000))
            kept.end("stop")
    assert len(captures(tmp_path)) == writing.figures.deleted == 1


async def test_a_disk_that_hangs_at_the_end_is_not_waited_for_and_the_loss_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_writer, "LAST_SECONDS", 0.01)
    writing = writer(tmp_path)
    works = threading.Event()
    monkeypatch.setattr(writing.folder, "append", lambda *_: works.wait(60))
    with capture_logs() as logs:
        async with asyncio.timeout(30):
            async with writing.running():
                for call in ("call-1", "call-2"):
                    kept = wire(call)
                    writing.add(kept)
                    kept.sent(b"one")
    works.set()
    assert logs == [
        {
            "event": "the disk hangs: the ends of captures are lost",
            "folder": str(tmp_path),
            "calls": 2,
            "bytes": 2 * len(b"one"),
            "log_level": "error",
        }
    ]


async def test_a_folder_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"captures cannot be written to .*file: File exists"):
        async with writer(tmp_path / "file").running():
            pass


@in_virtual_time
async def test_a_byte_that_the_disk_has_changed_is_found(tmp_path: Path) -> None:
    writing = writer(tmp_path)
    async with writing.running():
        kept = wire()
        writing.add(kept)
        kept.sent(b"it is as it was")
        await asyncio.sleep(1.01)
        kept.end("stop")
    (path,) = tmp_path.glob("*.zst")
    written, first = path.read_bytes(), read_capture(path)
    for position in range(len(written)):
        changed = bytearray(written)
        changed[position] ^= 0x55
        path.write_bytes(changed)
        try:
            capture = read_capture(path)
        except CaptureError:
            continue
        assert not capture.whole
        assert capture.lines == first.lines[:1]
