"""The table of all checks, and how they are made: one after the other, each in a limited time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from mediaserver.doctor.certificates import certificate_files, tls_chain
from mediaserver.doctor.clock import clock
from mediaserver.doctor.findings import Finding, failed, skipped
from mediaserver.doctor.handlers import handlers, services
from mediaserver.doctor.loop_speed import loop_speed
from mediaserver.doctor.machine import KERNEL_SETTINGS, kernel_check, open_files
from mediaserver.doctor.plivo_account import credentials, numbers
from mediaserver.doctor.public_url import (
    proxy_headers,
    public_url,
    signatures,
    stream_upgrade,
    webhooks,
)
from mediaserver.doctor.record_places import record_places
from mediaserver.doctor.redis_server import redis_server
from mediaserver.doctor.subject import Subject
from mediaserver.error_lines import error_lines


class DoctorCheck(NamedTuple):
    """One thing that is looked at. Nothing is changed by it."""

    name: str
    examine: Callable[[Subject], Awaitable[Finding]]
    after: tuple[str, ...] = ()
    """Checks without which it tells nothing: it is skipped if one of them failed."""
    within: float = 8.0
    """Seconds that it may take."""


class Diagnosis(NamedTuple):
    """What one check found."""

    name: str
    finding: Finding
    seconds: float
    """How long it took."""


async def _at_once(check: Callable[[Subject], Finding], subject: Subject) -> Finding:
    return check(subject)


_REACHED: Final = ("public URL", "TLS chain")

CHECKS: Final = (
    DoctorCheck("open files", open_files),
    *(DoctorCheck(each.name, partial(_at_once, kernel_check(each))) for each in KERNEL_SETTINGS),
    DoctorCheck("event loop", loop_speed),
    DoctorCheck("handlers", handlers, within=30.0),
    DoctorCheck("services", services, ("handlers",), within=20.0),
    DoctorCheck("certificate files", certificate_files),
    DoctorCheck("public URL", public_url),
    DoctorCheck("TLS chain", tls_chain, ("public URL",)),
    DoctorCheck("webhooks", webhooks, _REACHED, within=20.0),
    DoctorCheck("signatures", signatures, (*_REACHED, "webhooks")),
    DoctorCheck("WebSocket", stream_upgrade, (*_REACHED, "webhooks", "signatures")),
    DoctorCheck("proxy headers", proxy_headers, (*_REACHED, "webhooks", "signatures")),
    DoctorCheck("clock", clock),
    DoctorCheck("credentials", credentials),
    DoctorCheck("numbers", numbers, ("credentials",), within=20.0),
    DoctorCheck("Redis", redis_server),
    DoctorCheck("call records", record_places, within=20.0),
)
"""In the order in which they are made: what others rest on comes first."""


async def diagnose(
    subject: Subject, checks: Sequence[DoctorCheck] = CHECKS
) -> AsyncIterator[Diagnosis]:
    """Make the checks, and yield what each has found as soon as it is known."""
    wrong: set[str] = set()
    for check in checks:
        began = time.monotonic()
        missing = [each for each in check.after if each in wrong]
        if missing:
            finding = skipped(f"it needs what failed above: {', '.join(missing)}")
        else:
            finding = await _found(check, subject)
        if finding.status == "failed":
            wrong.add(check.name)
        yield Diagnosis(check.name, finding, time.monotonic() - began)


async def _found(check: DoctorCheck, subject: Subject) -> Finding:
    try:
        async with asyncio.timeout(check.within):
            return await check.examine(subject)
    except TimeoutError:
        return failed(
            f"no result within {check.within:g} s",
            "see what does not answer: a name server, a firewall that drops packets, or a busy"
            " machine",
        )
    except Exception as error:
        return failed(
            "; ".join(error_lines(error)), "this may be a fault of mediaserver: report it"
        )
