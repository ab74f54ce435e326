"""The audit log: one line for each thing that an operator did, or was not allowed to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog

from mediaserver.server.admin.commands import CallCommand, Delivery
from mediaserver.server.refusals import RefusalLog
from mediaserver.server.server_call import LONGEST_ID
from mediaserver.telemetry.logs import AUDIT


log = structlog.get_logger(AUDIT)


class AuditLog:
    """Writes down what operators do.

    What anyone who reaches the listener can cause is logged as other refusals are: twenty lines in
    ten seconds.

    Args:
        personal_data: whether the words of ``say`` are logged. URLs are always logged without their
            query, which may be a secret.
        clock: monotonic seconds.

    """

    def __init__(
        self, *, personal_data: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._personal_data = personal_data
        self._refusals = RefusalLog(clock, log)

    def command(self, by: str, command: CallCommand, delivery: Delivery) -> None:
        """Note a command on a call."""
        details: dict[str, object] = {}
        if command.action == "say":
            details["characters"] = len(command.text)
            if self._personal_data:
                details["text"] = command.text
        if command.action == "trace":
            details["audio"] = command.audio
        if command.action == "transfer":
            details["to"] = _without_query(command.url)
        self._note(by, command.action, delivery, call=command.call[:LONGEST_ID], **details)

    def recording(self, by: str, call: str, delivery: Delivery) -> None:
        """Note that somebody wants to hear a call that has ended."""
        self._note(by, "recording", delivery, call=call[:LONGEST_ID])

    def server(self, by: str, action: str, delivery: Delivery, **details: str) -> None:
        """Note a command on the server."""
        cut = {name: value[:LONGEST_ID] for name, value in details.items()}
        self._note(by, action, delivery, **cut)

    def denied(self, by: str, method: str, path: str, reason: str) -> None:
        """Note a request that was not allowed."""
        self._refusals.note(
            "operator request denied", by=by, method=method, path=path, reason=reason
        )

    def _note(self, by: str, action: str, delivery: Delivery, **details: object) -> None:
        log.info("operator command", by=by, action=action, outcome=delivery.status, **details)


def _without_query(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
