"""Decides whether another process serves a stream: the one that prepared its call.

That process has the handler whose `on_answer` ran, the whole answer request and the reserved place;
and if the stream was lost, its handler waits there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl

from mediaserver.server.trust.tokens import TOKEN_PARAMETER, TokenError, unseal


@dataclass(frozen=True, slots=True)
class MoveTo:
    """A process of this machine serves the stream: the connection is moved to it."""

    process: str
    """Its name, as in `Runtime.process`."""


Elsewhere: TypeAlias = MoveTo
"""Where a stream is served that is not served here."""


def elsewhere(
    query_string: str, *, own: str, reaches: Callable[[str], bool], secret: str, now: float
) -> Elsewhere | None:
    """Return where a stream is served; None for here.

    A stream is served here if its URL has no valid token, if the token names no process, or if that
    process is gone.

    Args:
        query_string: The query of its URL.
        own: The name of this process.
        reaches: Tells whether another process of this machine lives, even if it takes no new calls.
        secret: Signs the tokens.
        now: Seconds since the epoch.

    """
    token = dict(parse_qsl(query_string, keep_blank_values=True)).get(TOKEN_PARAMETER)
    if token is None:
        return None
    try:
        process = unseal(token, secret, now).process
    except TokenError:
        return None
    if process is None or process == own or not reaches(process):
        return None
    return MoveTo(process)
