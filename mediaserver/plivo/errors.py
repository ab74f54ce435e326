"""What can go wrong with a request to Plivo's REST API, by HTTP status.

Plivo's error body is ``{"api_id": "…", "error": "…"}``; the text is sometimes a list or an object
of texts, and some gateways respond in plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final


_CONCURRENCY_CODE: Final = 5030
"""Plivo's code for an account whose limit of concurrent calls is reached."""

_LONGEST_TEXT: Final = 500
_CONCURRENCY: Final = re.compile(rf"\b{_CONCURRENCY_CODE}\b|concurren", re.IGNORECASE)


class PlivoError(Exception):
    """A request to Plivo's API failed.

    Attributes:
        message: Plivo's message, or why the request did not reach it.
        status: HTTP status of the response, or None if none came.
        api_id: Plivo's id of the request, which its support asks for.
        request: The request, as in ``POST Call/``.
        retry_after: Seconds after which to try again, if Plivo names them.
        may_have_arrived: Whether Plivo may have acted on the request. False after 3xx and 4xx,
            which are refusals, and if no connection was made.

    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        api_id: str | None = None,
        request: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.api_id = api_id
        self.request = request
        self.retry_after = retry_after
        self.may_have_arrived = status is None or not 300 <= status < 500

    def __str__(self) -> str:
        parts = [self.request] if self.request else []
        if self.status is not None:
            parts.append(f"{self.status} {_phrase(self.status)}".rstrip())
        parts.append(self.message)
        text = ": ".join(parts)
        return f"{text} (api_id {self.api_id})" if self.api_id else text


class InvalidRequestError(PlivoError):
    """400 or 422: a parameter is missing or wrong."""


class AuthenticationError(PlivoError):
    """401: the auth id and token do not belong together."""


class ForbiddenError(PlivoError):
    """403: the account may not do this, such as call that country."""


class ConcurrencyLimitError(ForbiddenError):
    """403 with Plivo's code 5030: the account's limit of concurrent calls is reached."""


class NotFoundError(PlivoError):
    """404: the call, stream, number or application does not exist, or no longer."""


class MethodNotAllowedError(PlivoError):
    """405: the resource does not support this method."""


class ConflictError(PlivoError):
    """409: the request contradicts the state of the resource."""


class RateLimitedError(PlivoError):
    """429: too many requests or calls in too short a time. Plivo did nothing."""


class ServerError(PlivoError):
    """5xx: Plivo failed, and may have acted on the request before that."""


class UnexpectedResponseError(PlivoError):
    """A success with an unreadable body, or a status that the API does not document."""


class PlivoUnreachableError(PlivoError):
    """No response came."""

    def __init__(self, message: str, *, may_have_arrived: bool, **more: Any) -> None:
        super().__init__(message, **more)
        self.may_have_arrived = may_have_arrived


_BY_STATUS: Final[Mapping[int, type[PlivoError]]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    409: ConflictError,
    422: InvalidRequestError,
    429: RateLimitedError,
}


def error_for(
    status: int, body: Any, *, request: str = "", retry_after: float | None = None
) -> PlivoError:
    """Return the exception for an error response.

    Args:
        status: HTTP status.
        body: Parsed JSON, or the text if the body is not JSON.
        request: The request, as in ``POST Call/``.
        retry_after: Seconds in the Retry-After header.

    """
    texts = list(_texts(body))
    message = "; ".join(dict.fromkeys(texts))[:_LONGEST_TEXT] or "Plivo gave no reason"
    api_id = body.get("api_id") if isinstance(body, Mapping) else None
    more: dict[str, Any] = {
        "status": status,
        "api_id": api_id if isinstance(api_id, str) else None,
        "request": request,
        "retry_after": retry_after,
    }
    if status == HTTPStatus.FORBIDDEN and _is_concurrency(body, texts):
        return ConcurrencyLimitError(message, **more)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError(message, **more)
    return _BY_STATUS.get(status, UnexpectedResponseError)(message, **more)


def _is_concurrency(body: Any, texts: list[str]) -> bool:
    if isinstance(body, Mapping):
        codes = [body.get(name) for name in ("error_code", "hangup_cause_code", "code")]
        if str(_CONCURRENCY_CODE) in map(str, codes):
            return True
    return any(_CONCURRENCY.search(text) for text in texts)


def _texts(body: Any) -> Iterator[str]:
    """Yield the texts in an error body."""
    if isinstance(body, Mapping):
        said = body.get("error") or body.get("message") or body.get("errors")
        if isinstance(said, Mapping) and not {"error", "message", "errors"} & set(said):
            for name, value in said.items():
                yield from (f"{name}: {text}" for text in _texts(value))
        else:
            yield from _texts(said)
    elif isinstance(body, list | tuple):
        for each in body:
            yield from _texts(each)
    elif isinstance(body, str):
        text = " ".join(body.split())
        # A page of HTML from a gateway says no more than its status.
        if text and not text.startswith("<"):
            yield text


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
