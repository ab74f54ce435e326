import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaserver.doctor.plivo_account import credentials, numbers
from mediaserver.doctor.subject import Subject
from mediaserver.plivo.client import PlivoClient
from mediaserver.sandbox.platform import SandboxOptions, serve_sandbox
from mediaserver.server.outbound.number_setup import set_up_number
from mediaserver.settings import Settings


NUMBER = "+14155550100"
URL = "https://voice.example.com"


@pytest.fixture
async def account() -> AsyncIterator[Any]:
    """The settings of an account in a sandbox."""
    options = SandboxOptions(port=0)
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    sandbox = asyncio.create_task(serve_sandbox(options, ready=listening.set_result))
    async with asyncio.timeout(30):
        url = await listening
    yield {
        "auth_id": options.account.auth_id,
        "auth_token": options.account.auth_token,
        "api_url": url,
        "public_url": URL,
    }
    sandbox.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sandbox


def subject(account: Any, *named: str, **other: Any) -> Subject:
    return Subject(Settings(**{**account, **other}), named)


async def test_credentials_that_the_api_accepts_pass(account: Any) -> None:
    assert (await credentials(subject(account))).status == "ok"


async def test_a_wrong_token_is_told(account: Any) -> None:
    for check in (credentials, numbers):
        finding = await check(subject(account, NUMBER, auth_token="wrong"))
        assert finding.status == "failed"
        assert "does not accept the account" in finding.detail
        assert "console" in str(finding.remedy)


async def test_an_api_that_cannot_be_reached_is_told(account: Any) -> None:
    finding = await credentials(subject(account, api_url="http://127.0.0.1:9"))
    assert finding.status == "failed"
    assert "out of reach" in finding.detail


async def test_a_number_that_leads_elsewhere_is_told_and_left_alone(account: Any) -> None:
    for _ in range(2):
        finding = await numbers(subject(account, NUMBER))
        assert finding.status == "failed"
        assert finding.remedy == f"mediaserver setup-number {NUMBER} --public-url {URL}"


async def test_a_number_that_leads_here_passes(account: Any) -> None:
    async with PlivoClient(
        account["auth_id"], account["auth_token"], base_url=account["api_url"]
    ) as client:
        await set_up_number(client, NUMBER, URL)
    assert (await numbers(subject(account, NUMBER))).status == "ok"


async def test_a_number_that_cannot_be_set_up_is_told(account: Any) -> None:
    finding = await numbers(subject(account, "0800"))
    assert finding.status == "failed"
    assert "a phone number is written +14155550100" in finding.detail
    assert finding.remedy == "name a number that the account has, not 0800"


async def test_what_is_not_set_is_not_looked_at(account: Any) -> None:
    assert (await numbers(subject(account))).status == "skipped"
    assert (await numbers(subject(account, NUMBER, public_url=None))).status == "skipped"
    for check in (credentials, numbers):
        assert (await check(Subject(Settings(), (NUMBER,)))).status == "skipped"
