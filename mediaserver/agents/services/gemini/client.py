"""HTTP connections to Gemini's API, and what their failures mean.

https://ai.google.dev/api/generate-content. The ``google-genai`` package is not needed: see
docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final
from urllib.parse import quote

import msgspec

from mediaserver.agents.services.errors import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.event_client import EventClient, short_reason


GEMINI_URL: Final = "https://generativelanguage.googleapis.com"
API_VERSION: Final = "v1beta"
KEY_HEADER: Final = "x-goog-api-key"


class ApiError(msgspec.Struct, gc=False):
    """An error as Google's APIs say it."""

    code: int | None = None
    message: str = ""
    status: str = ""

    def __str__(self) -> str:
        what = short_reason(self.message)
        return f"{what} ({self.status})" if self.status else what


class _ErrorBody(msgspec.Struct):
    error: ApiError


class _ModelInfo(msgspec.Struct, rename="camel"):
    supported_generation_methods: list[str] = []


class GeminiClient(EventClient):
    """Connections to Gemini: see `EventClient`. The key is in ``GEMINI_API_KEY``."""

    provider_name: ClassVar = "gemini"
    address: ClassVar = GEMINI_URL
    variable: ClassVar = "GEMINI_API_KEY"
    version: ClassVar = API_VERSION
    # 429 is not among them: quotas are counted by the minute.
    passing: ClassVar = frozenset({500, 502, 503, 504})

    def headers(self) -> Mapping[str, str]:
        """Return the header with the key."""
        return {KEY_HEADER: self.key()}

    async def check(self, model: str, method: str) -> None:
        """Find out whether the server accepts the key, and has the model for what it is used for.

        Args:
            model: the model's name.
            method: the API's method that is used: ``generateContent`` or ``bidiGenerateContent``.

        Raises:
            MisconfiguredServiceError: there is no key, the server refuses it, or it has no such
                model.
            ServiceError: the server cannot be reached.

        """
        info = await self.look_up(model_path(model), _ModelInfo)
        known = info.supported_generation_methods if info is not None else []
        if known and method not in known:
            reason = f"the model {model!r} has no {method}, only {', '.join(known)}"
            raise MisconfiguredServiceError(self.service, reason, status=404)

    def refused(self, error: ApiError, status: int | None) -> ServiceError:
        """Return the error for a request that the service refused."""
        error = msgspec.structs.replace(error, message=self.without_key(error.message))
        reason = f"{status}: {error}"
        if status in (401, 403, 404) or "API key" in error.message:
            return MisconfiguredServiceError(self.service, reason, status=status)
        return self.failure(reason, status=status)

    def refusal(self, status: int, content: bytes) -> ServiceError:
        """Return the error for a request that was answered with a status other than 200."""
        try:
            error = msgspec.json.decode(content, type=_ErrorBody).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            error = ApiError(message=content.decode(errors="replace"))
        return self.refused(error, status)


def model_path(model: str) -> str:
    """Return a model's resource name: ``models/gemini-3.8-flash``; one with a slash is kept."""
    return quote(model if "/" in model else f"models/{model}")
