"""What Plivo is told to do with a call: the XML behind ``/answer``.

The webhook's fields are those of Plivo's answer request: CallUUID, From, To, Event, CallStatus.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from xml.etree import ElementTree

import structlog

from mediaserver.server.tokens import TOKEN_PARAMETER, Claims, seal


if TYPE_CHECKING:
    from mediaserver.server.runtime import Runtime
    from mediaserver.settings import Settings

log = structlog.get_logger(__name__)

MAX_STREAM_URL: Final = 2048
"""Characters of a stream URL that Plivo takes."""

_MAX_FIELD: Final = 256
_EXPECTED: Final = (
    "Plivo sends CallUUID, From, To, Direction, CallStatus and Event to an answer URL,"
    " as a form (POST) or in the query (GET)"
)

# Plivo posts these to the answer URL too when no other URL is set for them. A stream given in
# reply would be a second one, of a call that is over or already has its own.
_NO_ANSWER_EVENTS: Final = frozenset(
    (
        "hangup",
        "ring",
        "machinedetection",
        "startstream",
        "stopstream",
        "droppedstream",
        "degradedstream",
        "playedstream",
        "clearedaudio",
        "started",
        "stopped",
        "failed",
    )
)
_ENDED: Final = frozenset(
    ("completed", "busy", "failed", "timeout", "no-answer", "cancel", "canceled", "cancelled")
)


class AnswerError(ValueError):
    """A request that is none of Plivo's; it says what is missing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to reply."""

    xml: bytes
    kind: str
    """Short name to count it by: ``stream``, ``busy``, ``rejected``, ``ended`` or ``ignored``."""


def answer(
    runtime: Runtime, fields: Mapping[str, str], base_url: str, path: str | None = None
) -> Answer:
    """Decide what happens to a call, and keep a place for it if it gets a stream.

    Args:
        runtime: The server.
        fields: Of Plivo's request.
        base_url: ``http`` or ``https`` URL by which Plivo reaches the server.
        path: Path of the stream to send the call to; by default the one for the dialled number.

    Raises:
        AnswerError: The request is none of Plivo's.

    """
    call_id = _field(fields, "CallUUID")
    if call_id is None:
        raise AnswerError(f"CallUUID is missing. {_EXPECTED}")
    caller = _field(fields, "From")
    called = _field(fields, "To")
    event = (fields.get("Event") or "").lower()
    ended = event == "hangup" or (fields.get("CallStatus") or "").lower() in _ENDED
    if ended or event in _NO_ANSWER_EVENTS:
        if ended:
            runtime.admission.cancel(call_id)
        return Answer(_xml(_response()), "ended" if ended else "ignored")
    route = runtime.routes.match(path, called) if path else runtime.routes.for_number(called)
    if route is None:
        log.warning("call without a handler", call=call_id, called=called, path=path)
        return Answer(_xml(_rejected()), "rejected")
    if not runtime.admission.reserve(call_id):
        log.warning("call turned away", call=call_id, limit=runtime.admission.limit)
        return Answer(_xml(_busy(runtime.settings)), "busy")
    url = _stream_url(runtime.settings, Claims(call_id, caller, called, 0), base_url, route.path)
    return Answer(_xml(_stream(runtime.settings, url)), "stream")


def _field(fields: Mapping[str, str], name: str) -> str | None:
    value = fields.get(name, "").strip()
    if len(value) > _MAX_FIELD:
        raise AnswerError(f"{name} has {len(value)} characters; at most {_MAX_FIELD} are taken")
    return value or None


def _stream_url(settings: Settings, claims: Claims, base_url: str, path: str) -> str:
    expires = int(time.time() + settings.token_seconds) + 1
    token = seal(
        Claims(claims.call_id, claims.caller, claims.called, expires),
        settings.secret.get_secret_value(),
    )
    scheme, _, rest = base_url.partition("://")
    scheme = "wss" if scheme == "https" else "ws"
    url = f"{scheme}://{rest}{quote(path, safe='/%:@!$()*,;=~')}?{TOKEN_PARAMETER}={token}"
    if len(url) > MAX_STREAM_URL:
        raise AnswerError(
            f"the stream URL would have {len(url)} characters; Plivo takes {MAX_STREAM_URL}"
        )
    return url


def _response() -> ElementTree.Element:
    return ElementTree.Element("Response")


def _stream(settings: Settings, url: str) -> ElementTree.Element:
    response = _response()
    stream = ElementTree.SubElement(
        response,
        "Stream",
        {
            "bidirectional": "true",
            "keepCallAlive": "true",
            "contentType": str(settings.default_format),
        },
    )
    stream.text = url
    # Reached when the stream ends, whoever ended it: nothing here would be dead, billed air.
    if settings.on_end == "hangup":
        ElementTree.SubElement(response, "Hangup")
    else:
        ElementTree.SubElement(response, "Redirect").text = settings.on_end
    return response


def _busy(settings: Settings) -> ElementTree.Element:
    response = _response()
    if settings.busy_redirect is not None:
        ElementTree.SubElement(response, "Redirect").text = settings.busy_redirect
        return response
    if settings.busy_message:
        ElementTree.SubElement(response, "Speak").text = settings.busy_message
    ElementTree.SubElement(response, "Hangup", {"reason": "busy"})
    return response


def _rejected() -> ElementTree.Element:
    response = _response()
    ElementTree.SubElement(response, "Hangup", {"reason": "rejected"})
    return response


def _xml(response: ElementTree.Element) -> bytes:
    text: bytes = ElementTree.tostring(response, encoding="UTF-8", xml_declaration=True)
    return text
