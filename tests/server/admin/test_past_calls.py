from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from mediaserver.captures.capture_folder import CaptureFolder
from mediaserver.captures.capture_lines import CaptureHead, encode_head
from mediaserver.records.batches import Batch
from mediaserver.records.database import RecordsDatabase
from mediaserver.server.admin.past_calls import PastCalls, PastCallsError, PastQuery
from mediaserver.settings import Settings
from tests.records.conftest import began, over, turn


START = 1_800_000_000.0
ONE, OTHER = "78737f83-4660-490d-98e1-025dfe4b5c8f", "d8a4ae26-5f5c-4f2b-9c3e-0f7d1f4c6b1a"


def capture(folder: Path, call: str = ONE, minute: int = 15, **known: Any) -> str:
    """Keep the capture of a call, and return its name."""
    head = CaptureHead(
        call=call,
        began=f"2026-11-30T09:{minute}:00.000000+00:00",
        **{"handler": "Shop", "caller": "+14155550100", "called": "14155550199", **known},
    )
    kept = CaptureFolder(folder)
    path = kept.create(kept.name(head.began, call))
    path.write_bytes(encode_head(head))
    return path.name.removesuffix(".wire.zst")


def with_records(tmp_path: Path, *events: Any, **settings: Any) -> PastCalls:
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    database = RecordsDatabase(url)
    database.prepare()
    database.write(Batch(list(events), "j1"))
    database.close()
    return PastCalls(Settings.model_construct(records=SecretStr(url), **settings))


def ids(past: PastCalls, **wanted: Any) -> list[str]:
    return [each.id for each in past.find(PastQuery(**wanted))]


def test_a_server_that_keeps_nothing_has_no_past() -> None:
    past = PastCalls(Settings.model_construct())
    assert not past
    assert past.find(PastQuery()) == []
    assert past.capture_of(ONE) is None


def test_captured_calls_are_found_the_newest_first(tmp_path: Path) -> None:
    past = PastCalls(Settings.model_construct(capture=tmp_path / "captures"))
    assert past
    assert ids(past) == []
    (tmp_path / "captures").mkdir()
    first = capture(tmp_path / "captures")
    second = capture(tmp_path / "captures", OTHER, 16, caller="+14155550142", handler="Menu")
    (tmp_path / "captures" / "20261130T091700-broken.wire.zst").write_bytes(b"no capture")
    assert ids(past) == [second, first]
    assert ids(past, limit=1) == [second]
    assert ids(past, number="14155550142") == [second]
    assert ids(past, number="0142") == [second]
    assert ids(past, handler="Shop") == [first]
    (newest,) = past.find(PastQuery(limit=1))
    assert ids(past, behind=newest.place) == [first]
    moment = datetime(2026, 11, 30, 9, 16, tzinfo=UTC)
    assert ids(past, since=moment) == [second]
    assert ids(past, until=moment) == [first]
    assert ids(past, bad=True) == []
    (found,) = past.find(PastQuery(handler="Shop"))
    assert (found.call_id, found.caller, found.captured, found.recorded) == (
        ONE,
        "+14155550100",
        True,
        False,
    )


def test_recorded_calls_are_found_with_what_was_bad(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    capture(folder)
    past = with_records(
        tmp_path,
        over("a", call_id=ONE, started_at=START),
        over("b", call_id=OTHER, cause="handler_error", started_at=START + 1),
        began("c", started_at=START + 2),
        capture=folder,
    )
    assert ids(past) == ["b", "a"]
    assert ids(past, bad=True) == ["b"]
    assert ids(past, cause="handler_error") == ["b"]
    assert ids(past, number="0100") == ["b", "a"]
    assert ids(past, handler="Echo\0\ud800") == []
    bad, good = past.find(PastQuery())
    assert (good.captured, good.recorded, good.complaints) == (True, True, [])
    assert (bad.captured, bad.cause) == (False, "handler_error")
    assert bad.complaints


def test_a_capture_is_found_by_its_name_its_call_or_its_record(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    name = capture(folder)
    past = with_records(tmp_path, over("a", call_id=ONE, started_at=START), capture=folder)
    for each in (name, ONE, "a"):
        found = past.capture_of(each)
        assert found is not None
        assert found.name == f"{name}.wire.zst"
    for each in (OTHER, "b", "../captures/x", ""):
        assert past.capture_of(each) is None


def test_each_stream_of_a_call_has_its_own_capture(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    names = [capture(folder, ONE, minute) for minute in (15, 16)]
    (folder / f"20261130T091700-{ONE}.wire.zst").write_bytes(b"no capture")
    starts = [datetime(2026, 11, 30, 9, minute, 1, tzinfo=UTC).timestamp() for minute in (15, 16)]
    records = [
        over(name, call_id=ONE, started_at=at) for name, at in zip("ab", starts, strict=True)
    ]
    past = with_records(tmp_path, *records, capture=folder)
    found = [past.capture_of(each) for each in "ab"]
    assert [each and each.name for each in found] == [f"{name}.wire.zst" for name in names]


def test_a_recording_is_found_if_it_is_one(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.wav" for name in ("call", "other", "gone")}
    paths["call"].write_bytes(b"RIFF and more")
    paths["other"].write_bytes(b"secret")
    (tmp_path / "wav.txt").write_bytes(b"RIFF and more")
    paths["text"], paths["nul"] = tmp_path / "wav.txt", tmp_path / "a\0.wav"
    (tmp_path / "said.jsonl").write_text('{"track":"inbound","start":0,"end":1,"text":"a"}')
    transcript = str(tmp_path / "said.jsonl")
    past = with_records(
        tmp_path,
        over("said", transcript=transcript),
        *(over(name, recording=str(path)) for name, path in paths.items()),
        over("none"),
    )
    assert {each.id for each in past.find(PastQuery()) if each.recording} == {"call"}
    assert {each.id for each in past.find(PastQuery()) if each.transcribed} == {"said"}
    assert past.recording_of("call") == paths["call"]
    for name in ("other", "gone", "text", "nul", "none", "nobody"):
        assert past.recording_of(name) is None
    assert PastCalls(Settings.model_construct()).recording_of("call") is None


def test_a_record_is_found_with_its_turns(tmp_path: Path) -> None:
    past = with_records(
        tmp_path, over("a", call_id=ONE, started_at=START), turn("a"), turn("a", 1), turn("b")
    )
    for name in ("a", ONE):
        found = past.record_of(name)
        assert found is not None
        call, turns = found
        assert (call["id"], [each["position"] for each in turns]) == ("a", [0, 1])
    assert past.record_of("b") is None
    assert PastCalls(Settings.model_construct()).record_of("a") is None


def test_a_database_that_is_away_is_an_error(tmp_path: Path) -> None:
    records = SecretStr(f"sqlite:///{tmp_path / 'none' / 'calls.db'}")
    with pytest.raises(PastCallsError, match="call records cannot be used"):
        PastCalls(Settings.model_construct(records=records)).find(PastQuery())


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PastCallsError, match="folder of captures"):
        PastCalls(Settings.model_construct(capture=tmp_path / "file")).find(PastQuery())
