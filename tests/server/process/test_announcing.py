from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.agents import Echo
from mediaserver.routes import Route, Routes
from mediaserver.server.process.announcing import announce_addresses, announce_routes
from mediaserver.settings import Settings


@pytest.mark.parametrize(("given", "warned"), [({}, True), ({"auth_token": "t"}, False)])
def test_signatures_that_are_not_checked_are_worth_a_warning(given: Any, warned: bool) -> None:
    with capture_logs() as logs:
        announce_addresses(Settings(**given), [("127.0.0.1", 8000)])
    levels = [each["log_level"] for each in logs if each["event"] == "signatures are not checked"]
    assert levels == (["warning"] if warned else [])


@pytest.mark.parametrize(
    ("host", "settings", "command"),
    [
        ("127.0.0.1", {}, "mediaserver call ws://127.0.0.1:8000/shop"),
        ("0.0.0.0", {}, "mediaserver call ws://127.0.0.1:8000/shop"),
        ("127.0.0.1", {"tls": True}, "mediaserver call wss://127.0.0.1:8000/shop"),
        (
            "127.0.0.1",
            {"tls": True, "public_url": "https://voice.example.com"},
            "mediaserver call wss://voice.example.com/shop",
        ),
        ("127.0.0.1", {"require_token": True}, None),
        ("127.0.0.1", {"log_format": "json"}, None),
    ],
)
def test_the_log_has_the_command_to_try_next(
    host: str, settings: dict[str, Any], command: str | None
) -> None:
    given = dict(settings)
    if given.pop("tls", False):
        given["ssl_certfile"] = "server.pem"
    with capture_logs() as logs:
        announce_routes(Settings(**given), Routes(Route(Echo, "/shop")), [(host, 8000)])
    commands = [each["command"] for each in logs if each["event"] == "try it"]
    assert commands == ([command] if command else [])


def test_each_address_has_a_line() -> None:
    with capture_logs() as logs:
        addresses = [("127.0.0.1", 8000), ("::1", 8000)]
        announce_addresses(Settings(), addresses, [("127.0.0.1", 9000)], workers=2)
    listening = [each for each in logs if each["event"] == "listening"]
    assert [each["url"] for each in listening] == ["http://127.0.0.1:8000", "http://[::1]:8000"]
    assert [each["workers"] for each in listening] == [2, 2]
    assert [each["url"] for each in logs if each["event"] == "metrics"] == [
        "http://127.0.0.1:9000/metrics"
    ]


def test_each_route_has_a_line() -> None:
    routes = Routes(Route(Echo), Route(Echo, number="+14155550100"))
    with capture_logs() as logs:
        announce_routes(Settings(), routes, [("127.0.0.1", 8000)])
    lines = [each for each in logs if each["event"] == "route"]
    assert [each.get("number") for each in lines] == [None, "+14155550100"]
    assert {each["stream"] for each in lines} == {"ws://127.0.0.1:8000/stream"}


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ({"workers": 4}, [("/sales", 20, 80), ("/shop", 5, 20)]),
        ({"workers": 4, "redis": "redis://127.0.0.1", "secret": "s" * 16}, []),
        ({"workers": 1}, []),
        ({}, []),
    ],
    ids=["workers", "redis", "one worker", "one process"],
)
def test_a_limit_that_each_worker_keeps_by_itself_is_worth_a_warning(
    settings: dict[str, Any], limits: list[tuple[str, int, int]]
) -> None:
    routes = Routes(Route(Echo, "/sales"), Route(Echo, "/shop", max_calls=5), Route(Echo))
    with capture_logs() as logs:
        given = Settings(max_calls_route=("/sales=20",), **settings)
        announce_routes(given, routes, [("127.0.0.1", 8000)])
    event = "each worker keeps the limit of a route by itself"
    lines = [each for each in logs if each["event"] == event]
    assert [(each["route"], each["limit"], each["together"]) for each in lines] == limits


@pytest.mark.parametrize(("secret", "said"), [({}, False), ({"secret": "s" * 16}, True)])
def test_a_server_that_may_have_others_beside_it_says_that_it_knows_its_own_calls_alone(
    secret: dict[str, Any], said: bool
) -> None:
    with capture_logs() as logs:
        announce_addresses(Settings(**secret), [("127.0.0.1", 8000)])
    events = [each["event"] for each in logs]
    assert ("other servers do not know the calls of this one" in events) is said
    assert ("token secret is random" in events) is not said
