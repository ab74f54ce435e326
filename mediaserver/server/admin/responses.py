"""Writes what operators are answered: JSON, and the HTTP status of what became of a command."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from starlette.responses import Response

from mediaserver.plivo.numbers import phone_key
from mediaserver.server.admin.commands import CallEntry, Delivery, DeliveryStatus


OUTCOMES: Final[Mapping[DeliveryStatus, int]] = {
    "done": 200,
    "begun": 202,
    "unknown_call": 404,
    "unknown_node": 404,
    "refused": 409,
    "too_many": 429,
    "unable": 501,
    "failed": 502,
    "not_delivered": 503,
}
"""The HTTP status for each thing that may become of a command."""


PRIVATE: Final = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""Headers of what no cache keeps, no other page embeds, and no browser takes for something else."""


def json_response(
    body: object, status: int = 200, headers: Mapping[str, str] = PRIVATE
) -> Response:
    """Answer with JSON that people can read too."""
    text = msgspec.json.format(msgspec.json.encode(body), indent=2)
    return Response(text + b"\n", status, {**headers, **PRIVATE}, media_type="application/json")


def delivery_response(delivery: Delivery, **about: str) -> Response:
    """Answer what became of a command, about the call or node that is named."""
    status = OUTCOMES[delivery.status]
    if status < 400:
        body = {"outcome": delivery.status, "detail": delivery.detail, **about}
    else:
        body = {"error": delivery.detail, "hint": delivery.hint, "outcome": delivery.status}
    return json_response(body | about, status)


def call_fields(entry: CallEntry, *, personal_data: bool) -> dict[str, Any]:
    """Return what is shown of a call; whole numbers only with personal data."""
    shown: dict[str, Any] = msgspec.to_builtins(entry)
    del shown["cursor"]
    for name in ("started_at", "lost_at"):
        if shown[name] is not None:
            at = datetime.fromtimestamp(shown[name], UTC)
            shown[name] = at.isoformat(timespec="milliseconds")
    if not personal_data:
        shown["caller"] = masked(entry.caller)
        shown["called"] = masked(entry.called)
    return shown


def masked(number: str | None) -> str | None:
    """Return what of a number may be shown: its last four digits."""
    if number is None:
        return None
    key = phone_key(number) or ""
    return f"…{key[-SHOWN_DIGITS:]}" if key.isdecimal() and len(key) > 6 else "…"


SHOWN_DIGITS: Final = 4
"""Digits of a number that everybody may see, and by which calls can be found."""
