from email.utils import formatdate
from typing import Any

import pytest

from mediaserver.doctor.clock import clock, judge_clock
from mediaserver.doctor.subject import Subject
from mediaserver.settings import Settings


NOW = 1_800_000_000.0
URL = "https://api.example.com"


@pytest.mark.parametrize("offset", [-5, 0, 5])
def test_a_few_seconds_do_no_harm(offset: int) -> None:
    assert judge_clock(URL, NOW, NOW + 0.2, formatdate(NOW + offset)).status == "ok"


@pytest.mark.parametrize(("offset", "way"), [(-60, "60 s ahead of"), (60, "60 s behind")])
def test_a_clock_that_is_wrong_is_told(offset: int, way: str) -> None:
    finding = judge_clock(URL, NOW, NOW + 0.2, formatdate(NOW + offset))
    assert finding.status == "failed"
    assert way in finding.detail
    assert "NTP" in str(finding.remedy)


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_without_a_date_nothing_is_compared(date: str | None) -> None:
    assert judge_clock(URL, NOW, NOW, date).status == "skipped"


def account(url: str) -> Subject:
    options: dict[str, Any] = {"auth_id": "MA1", "auth_token": "t", "api_url": url}
    return Subject(Settings(**options))


async def test_the_api_is_asked(start_server: Any) -> None:
    # Any server will do: replies have dates.
    url = f"http://127.0.0.1:{await start_server()}"
    assert await clock(account(url)) == ("ok", f"the clock agrees with that of {url}", None)


async def test_an_api_that_cannot_be_reached_is_told() -> None:
    finding = await clock(account("http://127.0.0.1:9"))
    assert finding.status == "failed"
    assert "cannot be asked for the time" in finding.detail


async def test_without_an_account_nobody_is_asked() -> None:
    assert (await clock(Subject(Settings()))).status == "skipped"
