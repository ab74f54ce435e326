"""Tokens in the header ``Authorization`` (RFC 6750)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence


def is_bearer(authorization: str, tokens: Sequence[str]) -> bool:
    """Tell whether a header has one of these tokens; how long it takes says nothing of them.

    Args:
        authorization: the header's value, as Starlette decodes it.
        tokens: those that are right, in ASCII.

    """
    given = authorization.encode("latin-1", "replace")
    right = [hmac.compare_digest(given, b"Bearer " + token.encode()) for token in tokens]
    return any(right)
