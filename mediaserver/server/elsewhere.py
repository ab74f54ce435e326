"""Decides whether another process serves a request: the one that its URL names.

The token of a stream names the process that prepared the call. That process has the handler whose
`on_answer` ran, the whole answer request and the reserved place; and if the stream was lost, its
handler waits there. The URLs of a call that was dialled name the process that dialled it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from mediaserver.server.form_fields import form_fields
from mediaserver.server.trust.tokens import TOKEN_PARAMETER, TokenError, unseal


PROCESS_PARAMETER: Final = "process"
"""Name of the query parameter of a webhook that names the process to which its call belongs."""


def unique_name(node: str | None) -> str:
    """Return a name for a process, or for the first part of its workers' names.

    It differs from every name before it, also from those of the same node: ``3f9a41c7``, or
    ``node1/3f9a41c7``. A proxy reads the part before the slash.
    """
    name = secrets.token_hex(4)
    return name if node is None else f"{node}/{name}"


@dataclass(frozen=True, slots=True)
class MoveTo:
    """A process of this machine serves the request: the connection is moved to it."""

    process: str
    """Its name, as in `Runtime.process`."""


@dataclass(frozen=True, slots=True)
class RelayTo:
    """A process of another machine serves the stream: its bytes are relayed."""

    address: str
    """The URL of that machine."""


Elsewhere: TypeAlias = MoveTo | RelayTo
"""Where a request is served that is not served here."""


def elsewhere(
    query_string: str,
    *,
    own: str,
    reaches: Callable[[str], bool],
    secret: str,
    now: float,
    address_of: Callable[[str], str | None] = lambda process: None,
) -> Elsewhere | None:
    """Return where a request is served; None for here.

    It is served here if its URL names no process, or one that is gone. If there is a token, it
    alone counts, and only if it is valid.

    Args:
        query_string: The query of its URL.
        own: The name of this process.
        reaches: Tells whether another process of this machine lives, even if it takes no new calls.
        secret: Signs the tokens.
        now: Seconds since the epoch.
        address_of: Returns the URL at which the process of another machine is reached, if it lives.

    """
    query = dict(form_fields(query_string))
    token, process = query.get(TOKEN_PARAMETER), query.get(PROCESS_PARAMETER)
    if token is not None:
        try:
            process = unseal(token, secret, now).process
        except TokenError:
            return None
    if process is None or process == own:
        return None
    if reaches(process):
        return MoveTo(process)
    address = address_of(process)
    return None if address is None else RelayTo(address)
