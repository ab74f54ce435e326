"""The sandbox's one account: its credentials, its signatures, and the rate limit of its API."""

from __future__ import annotations

import binascii
import hmac
import re
import secrets
import string
from base64 import b64decode
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from mediaserver.plivo.signatures import sign_headers, sign_upgrade


_AUTH_ID = re.compile(r"[MS]A[A-Z0-9]{18}")


def new_auth_id() -> str:
    """Make up an auth id of the form that Plivo's SDKs accept: `MA` and 18 letters or digits."""
    return "MA" + "".join(secrets.choice(string.ascii_uppercase) for _ in range(18))


def new_auth_token() -> str:
    """Make up an auth token, 40 characters as Plivo's are."""
    return secrets.token_hex(20)


@dataclass(frozen=True)
class Account:
    """Credentials of the API, which also sign callbacks and streams.

    Attributes:
        auth_id: 20 characters that begin with MA (or SA for a subaccount).
        auth_token: Its secret.
        main_token: Token of the main account, if this one is a subaccount: it makes the `Ma-V3`
            signature. The same token otherwise.

    """

    auth_id: str = field(default_factory=new_auth_id)
    auth_token: SecretStr = field(default_factory=lambda: SecretStr(new_auth_token()))
    main_token: SecretStr | None = None

    def __post_init__(self) -> None:
        if _AUTH_ID.fullmatch(self.auth_id) is None:
            raise ValueError(
                "an auth id must be MA or SA and 18 capital letters or digits,"
                f" as Plivo's SDKs require, not {self.auth_id!r}"
            )
        if not self.auth_token.get_secret_value():
            raise ValueError("an auth token must not be empty")

    def admits(self, authorization: str | None) -> bool:
        """Return whether an `Authorization` header has the account's id and token."""
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        wanted = f"{self.auth_id}:{self.auth_token.get_secret_value()}".encode()
        return hmac.compare_digest(given, wanted)

    def sign_request(self, method: str, url: str, form: Mapping[str, str] | None) -> dict[str, str]:
        """Return the headers that sign an HTTP request.

        Raises:
            ValueError: `url` is not a URL.

        """
        token, main = self._tokens
        return sign_headers(method, url, token, form, main_tokens=main)

    def sign_stream(self, url: str) -> dict[str, str]:
        """Return the headers that sign the WebSocket of a stream.

        Raises:
            ValueError: `url` is not a URL.

        """
        token, main = self._tokens
        return sign_upgrade(url, token, main_tokens=main)

    @property
    def _tokens(self) -> tuple[str, str]:
        """The token of the account, and that of the main account."""
        main = self.main_token or self.auth_token
        return self.auth_token.get_secret_value(), main.get_secret_value()


class RateLimiter:
    """Admits up to `requests` in any period of `seconds`. Plivo's API admits 300 in 5 s."""

    def __init__(self, requests: int = 300, seconds: float = 5.0) -> None:
        if requests < 1 or seconds <= 0:
            raise ValueError(
                "a rate limit must be at least 1 request in more than 0 s,"
                f" not {requests} in {seconds} s"
            )
        self._requests = requests
        self._seconds = seconds
        self._admitted: deque[float] = deque()

    def __str__(self) -> str:
        return f"{self._requests} requests in {self._seconds:g} seconds"

    def admit(self, now: float) -> float:
        """Admit a request at `now` and return 0, or return the seconds until one is admitted."""
        while self._admitted and self._admitted[0] <= now - self._seconds:
            self._admitted.popleft()
        if len(self._admitted) >= self._requests:
            return self._admitted[0] + self._seconds - now
        self._admitted.append(now)
        return 0.0
