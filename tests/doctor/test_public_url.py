import socket
from collections.abc import Callable
from typing import Any

import pytest

from mediaserver.doctor.findings import Finding
from mediaserver.doctor.public_url import (
    judge_seen,
    judge_upgrade,
    proxy_headers,
    public_url,
    signatures,
    stream_upgrade,
    webhooks,
)
from mediaserver.doctor.reaching import upgrade
from mediaserver.doctor.subject import Subject
from mediaserver.server.trust.seen import SeenRequest
from mediaserver.settings import Settings
from tests.doctor.proxy import Rewrite, proxied, untouched, with_headers, without


TOKEN = "the token of the account"
ALL = (webhooks, signatures, stream_upgrade, proxy_headers)


def subject(url: str | None, **settings: Any) -> Subject:
    # A sandbox, so that addresses of this machine will do.
    options = {"api_url": "http://127.0.0.1:8001", "public_url": url, **settings}
    return Subject(Settings(**options))


class Deployed:
    """A server behind a proxy, and what the doctor finds there."""

    def __init__(self, start_server: Any) -> None:
        self._start = start_server

    async def findings(
        self, rewrite: Rewrite = untouched, *, theirs: Any = None, ours: Any = None
    ) -> dict[str, Finding]:
        """Return what each check finds, by its name.

        Args:
            rewrite: What the proxy does.
            theirs: Settings of the server, without its public URL.
            ours: Settings that the doctor has otherwise.

        """
        theirs = {"auth_token": TOKEN, **(theirs or {})}
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = await self._start(public_url=url, **theirs)
        async with proxied(server, rewrite, listener=listener):
            it = subject(url, **{**theirs, **(ours or {})})
            return {check.__name__: await check(it) for check in ALL}


@pytest.fixture
def deployed(start_server: Callable[..., Any]) -> Deployed:
    return Deployed(start_server)


TRUSTED = {"trusted_proxies": "127.0.0.1"}
FORWARDED = with_headers("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")


async def test_a_good_proxy_passes_every_check(deployed: Deployed) -> None:
    findings = await deployed.findings(FORWARDED, theirs=TRUSTED)
    assert {name: each.status for name, each in findings.items()} == {
        "webhooks": "ok",
        "signatures": "ok",
        "stream_upgrade": "ok",
        "proxy_headers": "ok",
    }
    assert "says that the client is 203.0.113.9" in findings["proxy_headers"].detail


async def test_a_proxy_that_strips_the_upgrade_is_told(deployed: Deployed) -> None:
    findings = await deployed.findings(without("Upgrade", "Connection"))
    assert findings["webhooks"].status == "ok"
    finding = findings["stream_upgrade"]
    assert finding.status == "failed"
    assert "as an ordinary one" in finding.detail
    assert "proxy_http_version 1.1" in str(finding.remedy)


async def test_a_proxy_that_hides_the_client_is_told(deployed: Deployed) -> None:
    finding = (await deployed.findings(theirs=TRUSTED))["proxy_headers"]
    assert finding.status == "failed"
    assert "sends no X-Forwarded-For" in finding.detail


async def test_a_proxy_that_is_not_trusted_is_told(deployed: Deployed) -> None:
    finding = (await deployed.findings(FORWARDED))["proxy_headers"]
    assert finding.status == "failed"
    assert "is not one of trusted_proxies" in finding.detail
    assert finding.remedy == "set trusted_proxies to 127.0.0.1"


async def test_a_proxy_that_rewrites_paths_is_told(deployed: Deployed) -> None:
    findings = await deployed.findings(lambda head: head.replace(b" /", b" /voice/", 1))
    assert findings["webhooks"].status == "failed"
    assert "/answer is answered with 404" in findings["webhooks"].detail


async def test_a_proxy_that_changes_the_query_of_a_stream_is_told(deployed: Deployed) -> None:
    findings = await deployed.findings(lambda head: head.replace(b"?token=", b"?TOKEN=", 1))
    assert findings["stream_upgrade"].status == "failed"
    assert "pass the query on" in str(findings["stream_upgrade"].remedy)


async def test_another_token_than_the_server_s_is_told(deployed: Deployed) -> None:
    findings = await deployed.findings(ours={"auth_token": "another token"})
    # The server answers, in words of its own.
    assert findings["webhooks"].status == "ok"
    for name in ("signatures", "stream_upgrade"):
        assert findings[name].status == "failed"
        assert "the same auth token" in str(findings[name].remedy)
    assert findings["proxy_headers"].status == "failed"


async def test_a_server_that_checks_no_signature_is_told(deployed: Deployed) -> None:
    findings = await deployed.findings(
        theirs={"check_signatures": False}, ours={"check_signatures": True}
    )
    assert findings["signatures"].status == "failed"
    assert "without a signature" in findings["signatures"].detail
    assert findings["stream_upgrade"].status == "ok"


async def test_without_a_token_what_needs_one_is_skipped(deployed: Deployed) -> None:
    findings = await deployed.findings(theirs={"auth_token": None})
    assert {name: each.status for name, each in findings.items()} == {
        "webhooks": "ok",
        "signatures": "skipped",
        "stream_upgrade": "ok",
        "proxy_headers": "skipped",
    }


async def test_calls_are_not_counted_and_no_place_is_taken(start_server: Any) -> None:
    """The checks change nothing: a server for one call still takes that call."""
    port = await start_server(max_calls=1)
    it = subject(f"http://127.0.0.1:{port}", resume_calls=1)
    assert (await webhooks(it)).status == "ok"
    assert (await stream_upgrade(it)).status == "ok"
    assert await upgrade(f"http://127.0.0.1:{port}/stream", {}) == (101, "")


@pytest.mark.parametrize("check", ALL)
async def test_a_server_that_does_not_run_is_told(check: Any) -> None:
    finding = await check(subject("http://127.0.0.1:9", auth_token=TOKEN))
    assert finding.status == "failed"
    assert "start the server" in finding.remedy


@pytest.mark.parametrize("check", ALL)
async def test_without_a_url_nothing_is_asked(check: Any) -> None:
    assert (await check(subject(None))).status == "skipped"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (None, "public_url is not set"),
        ("http://203.0.113.9", "has no TLS"),
        ("https://nowhere.invalid", "has no address"),
        ("https://10.0.0.1", "no address of the internet"),
    ],
)
async def test_a_url_that_plivo_cannot_use_is_told(url: str | None, text: str) -> None:
    finding = await public_url(Subject(Settings(public_url=url)))
    assert finding.status == "failed"
    assert text in finding.detail
    assert finding.remedy


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://127.0.0.1:8000"])
async def test_a_sandbox_reaches_this_machine(url: str) -> None:
    assert (await public_url(subject(url))).status == "ok"


async def test_a_path_with_parameters_cannot_be_tried() -> None:
    it = subject("http://127.0.0.1:9", path="/t/{tenant}")
    assert (await stream_upgrade(it)).status == "skipped"


@pytest.mark.parametrize(
    ("status", "text", "remedy"),
    [
        (101, "", "have the proxy bring /stream to mediaserver, and pass the query on"),
        (404, "no handler at /stream", "name the handlers"),
        (404, "Not Found", "requests for /stream"),
        (502, "", "start the server"),
        (200, "hello", "requests for /stream"),
    ],
)
def test_other_replies_to_an_upgrade_are_told(status: int, text: str, remedy: str) -> None:
    finding = judge_upgrade("/stream", status, text)
    assert finding.status == "failed"
    assert remedy in str(finding.remedy)


DIRECT = SeenRequest("203.0.113.9", False, False, "203.0.113.9", True)


def test_a_server_without_a_proxy_is_right() -> None:
    assert judge_seen(DIRECT, is_https=True).status == "ok"


def test_a_proxy_that_ends_tls_and_says_nothing_is_told() -> None:
    seen = SeenRequest("10.0.0.5", False, False, "10.0.0.5", False)
    finding = judge_seen(seen, is_https=True)
    assert finding.status == "failed"
    assert "set trusted_proxies to 10.0.0.5" in str(finding.remedy)


def test_a_proxy_that_does_not_tell_of_tls_is_told() -> None:
    seen = SeenRequest("10.0.0.5", True, True, "203.0.113.9", False)
    finding = judge_seen(seen, is_https=True)
    assert finding.status == "failed"
    assert "X-Forwarded-Proto" in str(finding.remedy)
