"""Parts of the OpenAPI document that FastAPI cannot derive from the endpoints."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.security.http import HTTPBase
from pydantic import BaseModel, Field


BASIC: Final = HTTPBase(
    scheme="basic", scheme_name="basic", description="Auth ID and auth token.", auto_error=False
)
"""Security scheme of the API. It only describes: `Gate` checks the credentials."""

_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_ERRORS: Final[dict[int | str, str]] = {
    400: "A parameter is missing or invalid.",
    401: "The credentials are not those of the account.",
    403: "The account's limit of concurrent calls is reached (5030).",
    404: "The object does not exist, or the call has ended.",
    429: "Too many requests; `Retry-After` says how many seconds to wait.",
    "default": "Any other error.",
}


class Error(BaseModel):
    """Error response."""

    api_id: str = Field(description="Identifies the request.")
    error: str = Field(description="What is wrong, and what is allowed.")


class DescribedApi(FastAPI):
    """A FastAPI application whose document shows that endpoints take forms as well as JSON."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, which is made once."""
        if self.openapi_schema is None:
            for path in super().openapi()["paths"].values():
                for operation in path.values():
                    content = operation.get("requestBody", {}).get("content", {})
                    content |= {kind: media for kind in _FORMS for media in content.values()}
        assert self.openapi_schema is not None
        return self.openapi_schema


def errors(*statuses: int | str) -> dict[int | str, dict[str, Any]]:
    """Return the responses that FastAPI documents for these error statuses."""
    return {status: {"model": Error, "description": _ERRORS[status]} for status in statuses}
