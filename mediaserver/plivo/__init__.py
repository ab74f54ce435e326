"""What crosses HTTP between Plivo and a server: REST, XML, signatures and callbacks."""

from __future__ import annotations

from mediaserver.lazy_exports import lazy_exports


# Not the one of typing: a server without an account needs no HTTP client.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from mediaserver.plivo.addresses import API_URL
    from mediaserver.plivo.client import PlivoClient, Retries
    from mediaserver.plivo.errors import (
        AuthenticationError,
        ConcurrencyLimitError,
        ConflictError,
        ForbiddenError,
        InvalidRequestError,
        MethodNotAllowedError,
        NotFoundError,
        PlivoError,
        PlivoUnreachableError,
        RateLimitedError,
        ServerError,
        UnexpectedResponseError,
    )
    from mediaserver.plivo.models import (
        Accepted,
        Application,
        ApplicationCreated,
        ApplicationList,
        ApplicationRequest,
        Call,
        CallCreated,
        CallList,
        CallRequest,
        DigitsRequest,
        LiveCall,
        LiveCallList,
        Meta,
        Number,
        NumberRequest,
        StreamCreated,
        StreamList,
        StreamObject,
        StreamRequest,
        TransferRequest,
        problems,
    )
    from mediaserver.plivo.numbers import NumberError, dialable, digits, phone_key, same_number


__all__ = [
    "API_URL",
    "Accepted",
    "Application",
    "ApplicationCreated",
    "ApplicationList",
    "ApplicationRequest",
    "AuthenticationError",
    "Call",
    "CallCreated",
    "CallList",
    "CallRequest",
    "ConcurrencyLimitError",
    "ConflictError",
    "DigitsRequest",
    "ForbiddenError",
    "InvalidRequestError",
    "LiveCall",
    "LiveCallList",
    "Meta",
    "MethodNotAllowedError",
    "NotFoundError",
    "Number",
    "NumberError",
    "NumberRequest",
    "PlivoClient",
    "PlivoError",
    "PlivoUnreachableError",
    "RateLimitedError",
    "Retries",
    "ServerError",
    "StreamCreated",
    "StreamList",
    "StreamObject",
    "StreamRequest",
    "TransferRequest",
    "UnexpectedResponseError",
    "dialable",
    "digits",
    "phone_key",
    "problems",
    "same_number",
]

__getattr__, __dir__ = lazy_exports(
    globals(),
    (
        "mediaserver.plivo.addresses",
        "mediaserver.plivo.numbers",
        "mediaserver.plivo.errors",
        "mediaserver.plivo.models",
        "mediaserver.plivo.client",
    ),
)
