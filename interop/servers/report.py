"""How the servers under test report to the tests what happened to them."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request


VARIABLE = "INTEROP_REPORT_URL"
"""Environment variable with the URL of the application that the tests read."""


async def report(kind: str, **fields: object) -> None:
    """Tell that something happened."""
    await asyncio.to_thread(_post, {"kind": kind, **fields})


def _post(fields: dict[str, object]) -> None:
    request = urllib.request.Request(
        os.environ[VARIABLE] + "/report",
        json.dumps(fields).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):
        pass
