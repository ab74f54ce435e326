"""HTTP connections to Anthropic's API, and what its failures mean.

https://platform.claude.com/docs/en/api/errors. The ``anthropic`` package is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

import msgspec

from mediaserver.agents.services.errors import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.event_client import EventClient, short_reason


ANTHROPIC_VERSION: Final = "2026-10-21"
"""The version of the API that the messages are of.
https://platform.claude.com/docs/en/api/versioning."""

_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The HTTP statuses of errors that come within an answer, which has begun with 200."""


class AnthropicFault(msgspec.Struct, gc=False):
    """An error as Anthropic says it."""

    type: str = ""
    message: str = ""

    def __str__(self) -> str:
        what = short_reason(self.message)
        return f"{what} ({self.type})" if self.type else what


class _FaultBody(msgspec.Struct):
    error: AnthropicFault


class _ModelInfo(msgspec.Struct):
    lifecycle: str = "active"
    capabilities: dict[str, Any] | None = None


class AnthropicClient(EventClient):
    """Connections to Anthropic: see `EventClient`. The key is in ``ANTHROPIC_API_KEY``."""

    provider_name: ClassVar = "anthropic"
    address: ClassVar = "https://api.anthropic.com"
    variable: ClassVar = "ANTHROPIC_API_KEY"
    version: ClassVar = "v1"
    # 429 is not among them: its answer says when to ask again.
    passing: ClassVar = frozenset({500, 502, 503, 504, 529})

    def headers(self) -> Mapping[str, str]:
        """Return the headers with the key and the version."""
        return {"authorization": f"Bearer {self.key()}", "anthropic-version": ANTHROPIC_VERSION}

    async def check(self, model: str, *, thinking: str | None, effort: str | None) -> None:
        """Find out whether the server accepts the key, and whether the model takes the settings.

        https://platform.claude.com/docs/en/api/models/retrieve.

        Args:
            model: the model's name.
            thinking: how it is to think: a type of the API's.
            effort: a level of the API's.

        Raises:
            MisconfiguredServiceError: there is no key, the server refuses it, it has no such model,
                or the model does not think so.
            ServiceError: the server cannot be reached.

        """
        info = await self.look_up(f"models/{quote(model, safe='')}", _ModelInfo)
        if info is None:
            return
        if info.lifecycle == "retired":
            raise self._unfit(f"the model {model!r} is retired")
        for asked, setting, path in (
            (thinking, "thinking", ("thinking", "types")),
            (effort, "effort", ("effort",)),
        ):
            choices = _supported(info.capabilities, *path)
            if asked is not None and choices and asked not in choices:
                raise self._unfit(
                    f"{model!r} does not take {setting}={asked!r}, only {', '.join(choices)}"
                )

    def _unfit(self, reason: str) -> MisconfiguredServiceError:
        return MisconfiguredServiceError(self.service, reason, status=400)

    def refused(self, fault: AnthropicFault, status: int | None = None) -> ServiceError:
        """Return the error for a request that the service refused, or an answer that it ended."""
        status = _STATUSES.get(fault.type, 500) if status is None else status
        fault = msgspec.structs.replace(fault, message=self.without_key(fault.message))
        kind = MisconfiguredServiceError if status in (401, 402, 403, 404) else ServiceError
        return kind(self.service, f"{status}: {fault}", status=status)

    def refusal(self, status: int, content: bytes) -> ServiceError:
        """Return the error for a request that was answered with a status other than 200."""
        try:
            fault = msgspec.json.decode(content, type=_FaultBody).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            fault = AnthropicFault(message=content.decode(errors="replace"))
        return self.refused(fault, status)


def _supported(capabilities: Any, *path: str) -> list[str]:
    """Return the names below a path of a model's capabilities that it supports."""
    for name in path:
        capabilities = capabilities.get(name) if isinstance(capabilities, dict) else None
    if not isinstance(capabilities, dict):
        return []
    return [
        name
        for name, capability in capabilities.items()
        if isinstance(capability, dict) and capability.get("supported") is True
    ]
