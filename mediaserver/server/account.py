"""The account at Plivo that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediaserver.settings import Settings


if TYPE_CHECKING:
    from mediaserver.plivo.client import PlivoClient


class NoAccountError(ValueError):
    """The settings name no account; the message says what is missing."""


def has_account(settings: Settings) -> bool:
    """Tell whether the settings have the credentials for Plivo's REST API."""
    return settings.auth_id is not None and settings.auth_token is not None


def connect(settings: Settings) -> PlivoClient:
    """Return a client for the account.

    Args:
        settings: `auth_id`, `auth_token`, and `api_url` if it is not Plivo's own.

    Raises:
        NoAccountError: `auth_id` or `auth_token` is not set.

    """
    if settings.auth_id is None or settings.auth_token is None:
        missing = "auth_id" if settings.auth_id is None else "auth_token"
        raise NoAccountError(
            f"{missing} is not set: Plivo's REST API needs MEDIASERVER_AUTH_ID and"
            " MEDIASERVER_AUTH_TOKEN, from Plivo's console"
        )
    # A server without an account needs no HTTP client.
    from mediaserver.plivo.client import PlivoClient

    return PlivoClient(settings.auth_id, settings.auth_token, base_url=settings.api_url)
