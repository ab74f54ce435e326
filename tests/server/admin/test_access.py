import os
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from mediaserver.server.admin.access import Access, client_of
from mediaserver.settings import Settings


TOKEN, METRICS = "the operators' token", "the scraper's token"
OWN, ROOT, OTHER = f"uid {os.geteuid()}", "uid 0", "uid 4711"


def request(
    path: str = "/calls",
    client: str | None = "127.0.0.1",
    host: str = "127.0.0.1:8001",
    **headers: str,
) -> HTTPConnection:
    scope: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "client": (client, 0) if client else None,
        "headers": [
            (name.encode(), value.encode()) for name, value in {"host": host, **headers}.items()
        ],
    }
    return HTTPConnection(scope)


def status(access: Access, *args: Any, **more: Any) -> int:
    denied = access.check(request(*args, **more))
    assert denied is None or (denied.reason and denied.hint)
    return denied.status if denied else 200


def bearer(token: str) -> str:
    return f"Bearer {token}"


def test_the_client_is_an_address_or_a_user() -> None:
    assert client_of(request(client="127.0.0.1")) == "127.0.0.1"
    assert client_of(request(client="uid 5")) == "uid 5"
    assert client_of(request(client=None)) == "?"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", 401),
        (bearer("wrong"), 401),
        (f"Basic {TOKEN}", 401),
        (bearer(METRICS), 401),
        (bearer(TOKEN), 200),
    ],
)
def test_an_address_with_a_token_asks_for_it(given: str, expected: int) -> None:
    headers = {"authorization": given} if given else {}
    access = Access(TOKEN, metrics_token=METRICS)
    for client in ("127.0.0.1", "192.0.2.7", OTHER):
        assert status(access, client=client, **headers) == expected


@pytest.mark.parametrize("token", [TOKEN, METRICS])
def test_metrics_take_either_token(token: str) -> None:
    access = Access(TOKEN, metrics_token=METRICS)
    assert status(access, "/metrics", authorization=bearer(token)) == 200
    assert status(access, "/metrics", authorization=bearer("wrong")) == 401
    assert status(access, "/metrics") == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_everybodys(path: str) -> None:
    assert status(Access(TOKEN), path, client="192.0.2.7") == 200


def test_the_servers_user_and_root_need_no_token_on_a_unix_socket() -> None:
    for access in (Access(), Access(TOKEN)):
        assert status(access, client=OWN) == 200
        assert status(access, client=ROOT) == 200
    assert status(Access(user=1), client=OTHER) == 403
    assert status(Access(TOKEN, user=1), client=OTHER) == 401


def test_loopback_without_a_token_is_open_to_programs_and_not_to_web_pages() -> None:
    access = Access()
    assert status(access) == 200
    assert status(access, host="localhost:8001") == 200
    assert status(access, host="[::1]:8001") == 200
    for host in ("rebound.example.com:8001", "[::1", "127.0.0.1.example.com", ""):
        assert status(access, host=host) == 403
    assert status(access, origin="https://evil.example.com") == 403


@pytest.mark.parametrize(
    ("site", "expected"),
    [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)],
)
def test_what_another_page_loads_without_reading_it_is_refused(site: str, expected: int) -> None:
    access = Access()
    for client in ("127.0.0.1", OWN):
        assert status(access, client=client, **{"sec-fetch-site": site}) == expected


def test_a_page_behind_a_forwarded_port_is_as_any_other() -> None:
    access = Access()
    assert status(access, client=OWN, host="localhost:8001") == 200
    assert status(access, client=OWN, origin="https://evil.example.com") == 403
    assert status(access, client=OWN, origin="http://127.0.0.1:3000") == 403
    assert status(access, client=OWN, host="rebound.example.com:8001") == 403


def test_the_servers_own_page_may_ask_by_any_method() -> None:
    access = Access()
    for client in ("127.0.0.1", OWN):
        assert status(access, client=client, origin="http://127.0.0.1:8001") == 200
    rebound = "rebound.example.com"
    assert status(access, host=rebound, origin=f"http://{rebound}") == 403


@pytest.mark.parametrize("path", ["/view", "/view/", "/view/page.js"])
def test_the_files_of_the_page_are_everybodys(path: str) -> None:
    for access in (Access(), Access(TOKEN)):
        assert status(access, path, client="192.0.2.7", host="voice.example.com") == 200


def test_what_the_page_shows_needs_the_token() -> None:
    access = Access(TOKEN)
    for path in ("/viewer", "/past", "/calls"):
        assert status(access, path) == 401
        assert status(access, path, authorization=bearer(TOKEN)) == 200


def test_the_page_is_told_that_a_token_is_wanted() -> None:
    access, path = Access(TOKEN), "/view/page.json"
    assert status(access, path) == 200
    assert access.wants_token(request(path))
    assert access.wants_token(request(path, authorization=bearer("wrong")))
    assert not access.wants_token(request(path, authorization=bearer(TOKEN)))
    assert not access.wants_token(request(path, client=OWN))
    assert status(access, path, client=OWN, host="rebound.example.com") == 403


def test_the_tokens_come_from_the_settings() -> None:
    settings = Settings(admin="127.0.0.1:8001", admin_token=TOKEN.replace(" ", "-"))  # type: ignore[arg-type]
    access = Access.of(settings)
    assert status(access) == 401
    assert status(access, authorization=bearer(TOKEN.replace(" ", "-"))) == 200
