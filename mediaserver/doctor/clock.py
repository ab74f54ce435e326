"""The machine's clock, beside that of Plivo's API."""

from __future__ import annotations

import email.utils
import time
from typing import Final

import httpx

from mediaserver.doctor.findings import Finding, failed, passed, skipped
from mediaserver.doctor.reaching import client_for
from mediaserver.doctor.subject import Subject
from mediaserver.server.account import has_account


CLOCK_LIMIT: Final = 5.0
"""Seconds by which a clock may differ. Tokens, the marks of relayed streams and certificates are
valid by the clock, and it dates the logs."""
SET_CLOCK: Final = "have the clock set by NTP: timedatectl set-ntp true, or chrony"


async def clock(subject: Subject) -> Finding:
    """Compare the clock with the one that dates the replies of the API."""
    if not has_account(subject.settings):
        return skipped("no account is set, so no other clock is asked")
    url = subject.settings.api_url
    async with client_for(url) as client:
        began = time.time()
        try:
            reply = await client.get(url)
        except httpx.HTTPError as error:
            return failed(
                f"{url} cannot be asked for the time: {error!r}",
                "let the machine connect to it; proxies are set by HTTPS_PROXY",
            )
    return judge_clock(url, began, time.time(), reply.headers.get("date"))


def judge_clock(url: str, began: float, ended: float, date: str | None) -> Finding:
    """Compare the time at which a request began and ended with the date of its reply."""
    try:
        # Dates have whole seconds, rounded down.
        told = email.utils.parsedate_to_datetime(date or "").timestamp() + 0.5
    except ValueError:
        return skipped(f"{url} does not date its replies")
    offset = (began + ended) / 2 - told
    if abs(offset) <= CLOCK_LIMIT + (ended - began) / 2 + 0.5:
        return passed(f"the clock agrees with that of {url}")
    way = "ahead of" if offset > 0 else "behind"
    return failed(f"the clock is {abs(offset):.0f} s {way} that of {url}", SET_CLOCK)
