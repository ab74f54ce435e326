"""Whether a request comes from Plivo: the signatures of webhooks and of streams.

Both are checked as soon as there is an auth token, and what cannot be checked is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from cachetools import TTLCache

from mediaserver.plivo.signatures import Headers, Params, SignatureError, verify_headers
from mediaserver.plivo.signatures import verify_upgrade as verify_upgrade_headers
from mediaserver.settings import Settings


_NONCE_SECONDS: Final = 86_400.0
"""How long a nonce counts as used. After that the token in the stream URL has long run out."""
_NONCE_LIMIT: Final = 65_536
"""How many are kept, the newest."""


class SignatureCheck:
    """Checks signatures, and that no stream is opened twice with the same one.

    A webhook may well come twice with the same nonce: Plivo sends it again where it had no answer.
    A nonce of a stream counts as used only once the stream was accepted, for Plivo tries again.
    Which were used is known to this process alone: where several serve one number, a recorded
    request is taken once by each, until the token in its URL runs out.

    Args:
        tokens: Auth tokens; the signature of any will do.
        v2: Whether webhooks that have only a V2 signature are taken.
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
        self._used: TTLCache[str, None] = TTLCache(_NONCE_LIMIT, _NONCE_SECONDS, timer=clock)

    @classmethod
    def of(
        cls, settings: Settings, *, clock: Callable[[], float] = time.monotonic
    ) -> SignatureCheck | None:
        """Return what `settings` ask for: None without a token, or where it is turned off."""
        if not settings.check_signatures or not settings.auth_tokens:
            return None
        return cls(settings.auth_tokens, v2=settings.accept_old_signatures, clock=clock)

    def verify_webhook(
        self, headers: Headers, method: str, url: str, form: Params | None = None
    ) -> None:
        """Check a webhook.

        Args:
            headers: The request's.
            method: Of the request.
            url: By which Plivo knows the webhook, with the query that came.
            form: The fields of a POST.

        Raises:
            SignatureError: It is not signed by any of the tokens.

        """
        verify_headers(headers, method, url, self._tokens, form, v2=self._v2)

    def verify_upgrade(self, headers: Headers, url: str) -> str:
        """Check a request for a stream, and return its nonce.

        Args:
            headers: The request's.
            url: By which Plivo knows the stream, with the query that came.

        Raises:
            SignatureError: It is not signed by any of the tokens, or its nonce was used.

        """
        nonce = verify_upgrade_headers(headers, url, self._tokens).nonce
        if nonce in self._used:
            raise SignatureError("replayed", "a stream was opened with this signature before")
        return nonce

    def use(self, nonce: str) -> None:
        """Take no further stream with this nonce."""
        self._used[nonce] = None

    def release(self, nonce: str) -> None:
        """Take a stream with this nonce again: the one that used it was not accepted after all."""
        self._used.pop(nonce, None)
