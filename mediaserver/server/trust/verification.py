"""Plivo's signatures of webhooks and of streams.

They are checked whenever an auth token is set; unsigned requests are then refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from mediaserver.plivo.signatures import Headers, Params, SignatureError, verify_headers
from mediaserver.plivo.signatures import verify_upgrade as verify_upgrade_headers
from mediaserver.server.remembered import Remembered
from mediaserver.settings import Settings


_NONCE_SECONDS: Final = 86_400.0
"""Seconds for which a nonce counts as used: longer than any token in a stream URL is valid."""
_NONCE_BYTES: Final = 33_554_432
"""Memory for them: some 300,000 nonces, the oldest of which are forgotten first. A nonce thus
outlives a token of five minutes at up to 900 streams a second."""


class SignatureCheck:
    """Checks signatures, and that no stream is opened twice with the same one.

    A webhook may repeat a nonce, since Plivo repeats webhooks that got no reply. The nonce of a
    stream counts as used only once the stream was accepted, since Plivo retries refused ones.
    `Neighbours` tell each other of theirs; processes that do not know each other would each accept
    a recorded request once, until the token in its URL expires.

    Args:
        tokens: Auth tokens; a signature by any of them is valid.
        v2: Whether webhooks with only a V2 signature are accepted.
        clock: Monotonic seconds.

    """

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        v2: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._v2 = v2
        self._used = Remembered(_NONCE_SECONDS, limit=_NONCE_BYTES, clock=clock)

    @classmethod
    def of(
        cls, settings: Settings, *, clock: Callable[[], float] = time.monotonic
    ) -> SignatureCheck | None:
        """Return the check for `settings`; None without an auth token, or if turned off."""
        if not settings.check_signatures or not settings.auth_tokens:
            return None
        return cls(settings.auth_tokens, v2=settings.accept_old_signatures, clock=clock)

    def verify_webhook(
        self, headers: Headers, method: str, url: str, form: Params | None = None
    ) -> None:
        """Check a webhook.

        Args:
            headers: The request's headers.
            method: The request's method.
            url: The URL by which Plivo reaches the webhook, with the request's query.
            form: The fields of a POST.

        Raises:
            SignatureError: It is not signed with any of the tokens.

        """
        verify_headers(headers, method, url, self._tokens, form, v2=self._v2)

    def verify_upgrade(self, headers: Headers, url: str) -> str:
        """Check a request for a stream, and return its nonce.

        Args:
            headers: The request's headers.
            url: The URL by which Plivo reaches the stream, with the request's query.

        Raises:
            SignatureError: It is not signed with any of the tokens, or its nonce was used.

        """
        nonce = verify_upgrade_headers(headers, url, self._tokens).nonce
        if nonce in self._used:
            raise SignatureError("replayed", "a stream was opened with this signature before")
        return nonce

    def use(self, nonce: str) -> None:
        """Refuse further streams with this nonce."""
        self._used.add(nonce)

    def release(self, nonce: str) -> None:
        """Allow this nonce again: its stream never began."""
        self._used.discard(nonce)
