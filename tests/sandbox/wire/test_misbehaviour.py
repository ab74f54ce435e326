from __future__ import annotations

import asyncio
import dataclasses
import socket
from functools import partial
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection

from mediaserver.routes import Route, Routes
from mediaserver.sandbox import MISBEHAVIOURS, Misbehaviour
from mediaserver.sandbox.people.person import Person
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.server.connection import StreamConnection
from mediaserver.settings import Settings
from mediaserver.stream import Stream
from mediaserver.testing.joined import TestRuntime
from tests.sandbox.conftest import OnPlatform


def test_a_phone_behaves_by_default() -> None:
    assert not Misbehaviour()
    assert str(Misbehaviour()) == ""


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("stop-reading@5", "stop_reading", 5.0),
        ("drop@3.25", "drop", 3.25),
        ("drop@1500ms", "drop", 1.5),
        ("drop", "drop", 0.0),
        ("late:80ms", "late", 0.08),
        ("late:0.1s", "late", 0.1),
        ("late:0.1", "late", 0.1),
        ("bursts:10", "bursts", 10),
        (" garbage ", "garbage", True),
        ("odd-sizes", "odd_sizes", True),
    ],
)
def test_texts_are_parsed(text: str, name: str, value: float) -> None:
    misbehaviour = Misbehaviour.parse(text)
    assert getattr(misbehaviour, name) == value
    assert misbehaviour


def test_several_texts_add_up() -> None:
    both = Misbehaviour.parse("late:80ms", "garbage")
    assert both == Misbehaviour(late=0.08, garbage=True)


@pytest.mark.parametrize("text", ["", "rude", "Garbage", "drop@", "drop @3 4", "stop_reading@5"])
def test_an_unknown_name_is_refused_with_those_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"unknown misbehaviour .*stop-reading@SECONDS.*no-acks"):
        Misbehaviour.parse(text)


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ("drop:3", "drop@SECONDS"),
        ("drop@soon", "drop@SECONDS"),
        ("late", "late:80ms"),
        ("late@3", "late:80ms"),
        ("bursts:2.5", "bursts:10"),
        ("garbage:3", "garbage"),
        ("garbage@3", "garbage"),
    ],
)
def test_a_wrong_value_is_refused_with_the_right_spelling(text: str, usage: str) -> None:
    with pytest.raises(ValueError, match=f"must be written '{usage}'"):
        Misbehaviour.parse(text)


@pytest.mark.parametrize("texts", [("drop@1", "drop@2"), ("garbage", "garbage")])
def test_a_name_given_twice_is_refused(texts: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="given twice"):
        Misbehaviour.parse(*texts)


@pytest.mark.parametrize(
    "options",
    [
        {"drop": -1.0},
        {"late": float("nan")},
        {"late": float("inf")},
        {"bursts": 0},
        {"string_numbers": True, "missing_numbers": True},
        {"binary": True, "fragmented": True},
        {"no_acks": True, "acks_cleared": True},
        {"reopen": 0.2},
        {"drop": 1.0, "keep_playing": True},
        {"drop": 1.0, "new_stream_id": True},
        {"drop": 1.0, "half_open": True},
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, bool] | dict[str, float] | dict[str, int],
) -> None:
    with pytest.raises(ValueError, match=r"must|exclude|give drop|need reopen"):
        Misbehaviour(**options)


def test_every_option_is_listed_with_help() -> None:
    assert len(MISBEHAVIOURS) == len(dataclasses.fields(Misbehaviour))
    assert all(MISBEHAVIOURS.values())


EXCLUSIVE = (
    {"string-numbers", "missing-numbers"},
    {"binary", "fragmented"},
    {"no-acks", "acks-cleared"},
)


@given(st.sets(st.sampled_from(sorted(MISBEHAVIOURS)), max_size=5))
def test_what_is_printed_can_be_parsed(usages: set[str]) -> None:
    assume(not any(pair <= usages for pair in EXCLUSIVE))
    if usages & {"reopen:200ms", "half-open", "keep-playing", "new-stream-id"}:
        usages = usages | {"reopen:200ms", "drop@SECONDS"}
    texts = [usage.replace("SECONDS", "2.5") for usage in usages]
    misbehaviour = Misbehaviour.parse(*texts)
    assert Misbehaviour.parse(*str(misbehaviour).split()) == misbehaviour


@pytest.mark.parametrize(
    ("everybody", "person", "seconds"),
    [("drop@1", "", 1.0), ("", "drop@2", 2.0), ("drop@1", "drop@2", 2.0), ("", "", 10.0)],
)
def test_a_platform_that_misbehaves_does_so_toward_a_real_handler(
    on_platform: OnPlatform, everybody: str, person: str, seconds: float
) -> None:
    heard: list[float] = []

    async def listen(stream: Stream) -> None:
        began = asyncio.get_running_loop().time()
        async for _ in stream.events():
            pass
        heard.append(asyncio.get_running_loop().time() - began)

    async def scenario(platform: Any) -> str:
        loop = asyncio.get_running_loop()
        routes = Routes(Route(listen, "/ws"))
        settings = Settings.model_construct(reconnect_seconds=0.0)
        runtime = TestRuntime(settings, routes, clock=loop.time)
        await runtime.startup()

        async def connect(url: str, **options: Any) -> ClientConnection:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            await loop.connect_accepted_socket(partial(StreamConnection, runtime), ours)
            return await open_websocket(url, sock=theirs, **options)

        platform.exchange.services.connect = connect
        call = await platform.call(platform.stream(bidirectional="true", keepCallAlive="true"))
        await call.answered.wait()
        loop.call_later(10.0, call.hang_up_by_api)
        await call.wait_ended()
        await runtime.shutdown()
        (record,) = platform.exchange.records.streams.values()
        return str(record.status)

    status = on_platform(
        scenario,
        person=Person(misbehaviour=Misbehaviour.parse(*person.split())),
        options={"misbehaviour": Misbehaviour.parse(*everybody.split())},
    )
    assert heard == [pytest.approx(seconds, abs=0.1)]
    assert status == ("stopped" if seconds == 10.0 else "failed")
