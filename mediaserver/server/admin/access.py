"""Who may use the admin listener.

================================  ==================================================================
from a Unix socket                the user of the server, and root; others with the token
from an address, with a token     who has the token
from an address, without a token  every program of this machine: the settings allow this on loopback
                                  alone
from a browser, without a token   the page of ``/view/``. Other web pages are not let in: they can
                                  send requests to loopback, also to a port that SSH forwards to a
                                  Unix socket. These carry ``Origin`` or ``Sec-Fetch-Site``, or a
                                  name as ``Host``
``/healthz``, ``/readyz``         everybody
files of ``/view/``               everybody: the page has no data, and asks for the token
``/metrics``                      also who has the token of the metrics
================================  ==================================================================
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Final

from starlette.requests import HTTPConnection

from mediaserver.server.trust.bearer import is_bearer
from mediaserver.server.trust.other_pages import is_of_another_page
from mediaserver.settings import Settings


UNIX_PEER: Final = "uid "
"""How the host of a client begins that has come by a Unix socket; the id of its user follows."""

_FREE: Final = ("/healthz", "/readyz")

VIEW: Final = "/view"
"""Below it is the page that shows calls."""

PAGE_FACTS: Final = "/page.json"
"""Where the page asks what there is to show; all else beside it are files."""

_FACTS: Final = f"{VIEW}{PAGE_FACTS}"


@dataclass(frozen=True, slots=True)
class Denied:
    """A request that is not allowed."""

    status: int
    reason: str
    hint: str


class Access:
    """Decides who may do what.

    Args:
        token: the setting ``admin_token``.
        metrics_token: the setting ``metrics_token``.
        user: the id of the user whom the server runs as.

    """

    def __init__(
        self,
        token: str | None = None,
        *,
        metrics_token: str | None = None,
        user: int | None = None,
    ) -> None:
        self._token = token
        self._metrics_tokens = [each for each in (metrics_token, token) if each is not None]
        self._users = (os.geteuid() if user is None else user, 0)

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """Take the tokens from the settings."""
        token, metrics_token = settings.admin_token, settings.metrics_token
        return cls(
            token.get_secret_value() if token else None,
            metrics_token=metrics_token.get_secret_value() if metrics_token else None,
        )

    def check(self, request: HTTPConnection) -> Denied | None:
        """Return why a request is not allowed, or None."""
        path = request.scope["path"]
        if path in _FREE or _is_file_of_page(path):
            return None
        denied = self._denied(request, path)
        # A browser writes every 401 to its console; what the page asks first tells it otherwise.
        return None if path == _FACTS and _lacks_token(denied) else denied

    def wants_token(self, request: HTTPConnection) -> bool:
        """Tell whether the data of the page need a token that a request does not have."""
        return _lacks_token(self._denied(request, request.scope["path"]))

    def _denied(self, request: HTTPConnection, path: str) -> Denied | None:
        peer = client_of(request)
        if peer.startswith(UNIX_PEER) and int(peer.removeprefix(UNIX_PEER)) in self._users:
            return _from_another_page(request)
        tokens = [self._token] if self._token is not None else []
        if path == "/metrics":
            tokens = self._metrics_tokens
        if tokens:
            given = request.headers.get("authorization", "")
            return None if is_bearer(given, tokens) else _no_token(request)
        if peer.startswith(UNIX_PEER):
            return Denied(
                403,
                f"the user with the id {peer.removeprefix(UNIX_PEER)} is not the server's",
                "be the server's user or root, or set --admin-token and send it",
            )
        return _from_another_page(request)


def _is_file_of_page(path: str) -> bool:
    return (path.startswith(f"{VIEW}/") and path != _FACTS) or path == VIEW


def _lacks_token(denied: Denied | None) -> bool:
    return denied is not None and denied.status == 401


def client_of(request: HTTPConnection) -> str:
    """Return who sends a request: an address, or the user of a Unix socket."""
    return request.client.host if request.client else "?"


def _no_token(request: HTTPConnection) -> Denied:
    wrong = "authorization" in request.headers
    return Denied(
        401,
        "the token is wrong" if wrong else "this needs a token",
        "send the server's --admin-token, as the header Authorization: Bearer TOKEN",
    )


def _from_another_page(request: HTTPConnection) -> Denied | None:
    own = f"http://{request.headers.get('host', '')}"
    if is_of_another_page(request.headers, (own,)):
        return Denied(
            403, "other web pages are not let in", f"use the page {own}{VIEW}/, or no Origin"
        )
    try:
        host = request.url.hostname or ""
        if host != "localhost":
            ipaddress.ip_address(host)
    except ValueError:
        named = request.headers.get("host", "")[:100]
        return Denied(
            403,
            f"the Host header is {named!r}",
            "use the address, or localhost, in the URL; or set --admin-token and send it",
        )
    return None
