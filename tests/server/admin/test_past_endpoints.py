import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from audiocodecs import write_wav
from mediaserver.captures.capture_lines import (
    CaptureHead,
    encode_decision,
    encode_head,
    encode_line,
)
from mediaserver.records.batches import Batch
from mediaserver.records.database import RecordsDatabase
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.admin.past_endpoints import unhurried
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from tests.records.conftest import over, turn
from tests.server.admin.live import Live, client_of
from tests.server.admin.test_past_calls import ONE, OTHER, capture


# Files are read in threads.
pytestmark = pytest.mark.real_time


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with the captures of two calls."""
    capture(tmp_path)
    capture(tmp_path, OTHER, 16)
    return tmp_path


def client(
    directory: OwnCalls, folder: Path | None, *, personal: bool = False, listen_in: bool = False
) -> httpx.AsyncClient:
    settings = Settings(
        admin="127.0.0.1:8001",
        capture=folder,
        admin_personal_data=personal,
        admin_listen_in=listen_in,
    )
    return client_of(directory, settings)


async def get(
    directory: OwnCalls, folder: Path | None, path: str, **options: Any
) -> httpx.Response:
    async with client(directory, folder, **options) as asking:
        return await asking.get(path)


async def test_pages_follow_one_another(directory: OwnCalls, kept: Path) -> None:
    first = (await get(directory, kept, "/past?limit=1")).json()
    assert [each["call_id"] for each in first["calls"]] == [OTHER]
    async with client(directory, kept) as asking:
        second = (await asking.get("/past", params={"limit": 1, "after": first["next"]})).json()
    assert [each["call_id"] for each in second["calls"]] == [ONE]
    assert second["next"] is None


async def test_a_call_that_goes_on_is_not_among_those_that_have_ended(
    runtime: Runtime, directory: OwnCalls, kept: Path
) -> None:
    Live(runtime, call_id=OTHER)
    assert [each["call_id"] for each in (await get(directory, kept, "/past")).json()["calls"]] == [
        ONE
    ]


def test_the_making_of_lines_leaves_half_of_the_time_to_others() -> None:
    now = 0.0
    rests: list[tuple[int, float]] = []

    def lines() -> Iterator[str]:
        nonlocal now
        for number in range(5):
            now += 0.00125
            yield str(number)

    def clock() -> float:
        return now

    made: list[str] = []
    for line in unhurried(
        lines(), clock=clock, rest=lambda seconds: rests.append((len(made), seconds))
    ):
        made.append(line)
        now += 1.0  # in which the line is sent
    assert made == list("01234")
    assert rests == [(1, pytest.approx(0.0025)), (3, pytest.approx(0.0025))]


@pytest.fixture
def simultaneous(tmp_path: Path) -> str:
    """The URL of a database with the records of calls that began at the same time."""
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    database = RecordsDatabase(url)
    database.prepare()
    database.write(Batch([over(each) for each in "abcde"], "j1"))
    database.close()
    return url


async def test_pages_lose_no_call_that_began_with_another(
    directory: OwnCalls, simultaneous: str
) -> None:
    found: list[str] = []
    settings = Settings(admin="127.0.0.1:8001", records=SecretStr(simultaneous))
    async with client_of(directory, settings) as asking:
        query: dict[str, str] | None = {"limit": "2"}
        while query is not None:
            page = (await asking.get("/past", params=query)).json()
            found += [each["id"] for each in page["calls"]]
            query = {"limit": "2", "after": page["next"]} if page["next"] else None
    assert found == list("abcde")


@pytest.mark.parametrize(("personal", "caller"), [(False, "…0100"), (True, "+14155550100")])
async def test_whole_numbers_are_personal_data(
    directory: OwnCalls, kept: Path, personal: bool, caller: str
) -> None:
    body = (await get(directory, kept, "/past", personal=personal)).json()
    assert [each["caller"] for each in body["calls"]] == [caller] * 2


@pytest.mark.parametrize(
    ("query", "error", "hint"),
    [
        ("numbr=1", "there is no filter 'numbr'", "number, handler, cause"),
        ("number=anonymous", "'anonymous' is not a phone number", "country code"),
        ("since=yesterday", "since is 'yesterday'", "2027-01-15"),
        ("number=12345", "'12345' is not a phone number", "last 4 digits"),
        ("number=%00", r"'\x00' is not a phone number", "last 4 digits"),
        ("cause=rain", "there is no cause 'rain'", "handler_error"),
        ("until=2026-11-31", "until is '2026-11-31'", "2027-01-15"),
        ("after=1", "after is '1'", "next of the last page"),
        ("bad=yes", "bad is 'yes'", "1 for bad calls"),
        ("limit=0", "limit is '0'", "from 1 to 200"),
    ],
)
async def test_a_wrong_filter_is_told(
    directory: OwnCalls, kept: Path, query: str, error: str, hint: str
) -> None:
    response = await get(directory, kept, f"/past?{query}")
    assert response.status_code == 422
    assert response.json()["error"] == error
    assert hint in response.json()["hint"]


async def test_a_server_that_keeps_nothing_says_so(directory: OwnCalls) -> None:
    response = await get(directory, None, "/past")
    assert response.status_code == 404
    assert "--capture" in response.json()["hint"]


async def test_a_folder_that_cannot_be_read_is_told(directory: OwnCalls, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    response = await get(directory, tmp_path / "file", "/past")
    assert response.status_code == 503
    assert "folder of captures" in response.json()["error"]


async def test_the_lines_of_a_captured_call_are_sent(directory: OwnCalls, tmp_path: Path) -> None:
    name = capture(tmp_path)
    decisions = [encode_decision("thinks", {"number": each, "words": "a"}) for each in range(3_000)]
    text = b"".join(encode_line(0.5, "!", decision) for decision in decisions)
    (tmp_path / f"{name}.wire.zst").write_bytes(encode_head(CaptureHead(call=ONE)) + text)
    with capture_logs() as logged:
        response = await get(directory, tmp_path, f"/past/{ONE}/trace")
    assert response.headers["content-type"].startswith("application/x-ndjson")
    *lines, last = [json.loads(line) for line in response.text.splitlines()]
    assert last["what"] == "trace ended"
    assert [each["number"] for each in lines] == list(range(3_000))
    assert {each["words"] for each in lines} == {"…"}
    (line,) = logged
    assert (line["action"], line["call"], line["outcome"]) == ("trace", ONE, "done")


async def test_a_past_call_is_heard_with_the_setting_alone(directory: OwnCalls, kept: Path) -> None:
    path = f"/past/{ONE}/trace?audio=1"
    with capture_logs() as logged:
        response = await get(directory, kept, path, personal=True)
    assert response.status_code == 409
    assert "--admin-listen-in" in response.json()["hint"]
    assert logged[0]["outcome"] == "refused"
    assert (await get(directory, kept, path, listen_in=True)).status_code == 200


async def test_a_call_without_a_capture_is_told(directory: OwnCalls, kept: Path) -> None:
    response = await get(directory, kept, "/past/nobody/trace")
    assert response.status_code == 404
    assert "'nobody'" in response.json()["error"]


@pytest.fixture
def records(tmp_path: Path) -> str:
    """The URL of a database with the record of a call."""
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    database = RecordsDatabase(url)
    database.prepare()
    recording = tmp_path / "call.wav"
    write_wav(recording, np.arange(80, dtype=np.int16), 8000)
    database.write(Batch([over("a", call_id=ONE, recording=str(recording)), turn("a")], "j1"))
    database.close()
    return url


@pytest.mark.parametrize("listen_in", [True, False])
async def test_of_a_call_without_a_capture_the_turns_are_sent(
    directory: OwnCalls, records: str, listen_in: bool
) -> None:
    settings = Settings(
        admin="127.0.0.1:8001", records=SecretStr(records), admin_listen_in=listen_in
    )
    async with client_of(directory, settings) as asking:
        response = await asking.get(f"/past/{ONE}/trace")
    whats = [json.loads(line)["what"] for line in response.text.splitlines()]
    assert whats == ["recording"] * listen_in + ["turn", "stream ended"]


async def ask_for_recording(
    directory: OwnCalls, records: str, call: str = ONE, **settings: Any
) -> httpx.Response:
    given = Settings(admin="127.0.0.1:8001", records=SecretStr(records), **settings)
    async with client_of(directory, given) as asking:
        return await asking.get(f"/past/{call}/recording")


async def test_the_recording_of_a_call_is_sent(
    directory: OwnCalls, records: str, tmp_path: Path
) -> None:
    with capture_logs() as logged:
        response = await ask_for_recording(directory, records, admin_listen_in=True)
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["cache-control"] == "no-store"
    assert response.content == (tmp_path / "call.wav").read_bytes()
    assert [(each["action"], each["call"]) for each in logged] == [("recording", ONE)]


async def test_a_recording_is_heard_with_the_setting_alone(
    directory: OwnCalls, records: str
) -> None:
    response = await ask_for_recording(directory, records, admin_personal_data=True)
    assert response.status_code == 409
    assert "--admin-listen-in" in response.json()["hint"]


async def test_a_call_without_a_recording_is_told(directory: OwnCalls, records: str) -> None:
    response = await ask_for_recording(directory, records, "nobody", admin_listen_in=True)
    assert response.status_code == 404
    assert "no recording" in response.json()["error"]


async def test_a_capture_that_is_damaged_is_told(directory: OwnCalls, kept: Path) -> None:
    (path,) = kept.glob(f"*{ONE}*")
    path.write_bytes(b"no capture")
    response = await get(directory, kept, f"/past/{ONE}/trace")
    assert response.status_code == 409
    assert "not a capture" in response.json()["error"]
