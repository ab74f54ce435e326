"""Asks an admin listener, from the command line of the same machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from mediaserver.settings import Settings


_SECONDS: Final = 40.0
"""Seconds that an answer may take: Plivo may have to be asked."""


class AdminClientError(RuntimeError):
    """The listener cannot be reached, or did not do what it was asked; the message says why."""


class AdminClient:
    """Asks one admin listener.

    Args:
        address: the path of its Unix socket, or its host and port.
        token: the setting ``admin_token`` of the server, if it is needed.
        transport: carries the requests, if not HTTP.

    """

    def __init__(
        self,
        address: Path | tuple[str, int],
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._is_socket = isinstance(address, Path) and transport is None
        if isinstance(address, Path):
            self._at, base = str(address), "http://localhost"
            transport = transport or httpx.HTTPTransport(uds=str(address))
        else:
            host, port = address
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
            self._at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            base = f"http://{self._at}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(
            base_url=base, transport=transport, headers=headers, trust_env=False
        )

    @classmethod
    def of(cls, settings: Settings) -> AdminClient:
        """Make the client for the server that has these settings.

        Raises:
            AdminClientError: such a server has no admin listener.

        """
        address = settings.admin_address
        if address is None:
            raise AdminClientError(
                "the server has no admin listener: it has one with --workers and a --port, or if"
                " --admin is the path of a Unix socket or HOST:PORT"
            )
        token = settings.admin_token
        return cls(address, token=token.get_secret_value() if token else None)

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **query: str) -> Any:
        """Return what is at a path.

        Raises:
            AdminClientError: it cannot be had.

        """
        return self._ask("GET", path, _SECONDS, params=query)

    def post(self, path: str, body: object = None, *, within: float = _SECONDS) -> Any:
        """Have something done, and return the answer.

        Args:
            path: the command.
            body: its fields; None for none.
            within: seconds that it may take. A reload takes as long as new workers need to start.

        Raises:
            AdminClientError: it was not done, or it is not known whether it was.

        """
        return self._ask("POST", path, within, **({} if body is None else {"json": body}))

    def lines(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects that are sent line by line at a path, as they come.

        Raises:
            AdminClientError: they cannot be had, or the server has gone.

        """
        with self._failures(_SECONDS):
            self._look_for_listener()
            with self._client.stream("GET", path, params=query, timeout=_SECONDS) as response:
                if not response.is_success:
                    response.read()
                    self._read(response)
                for line in response.iter_lines():
                    if line:
                        yield json.loads(line)

    def _ask(self, method: str, path: str, within: float, **more: Any) -> Any:
        with self._failures(within):
            self._look_for_listener()
            response = self._client.request(method, path, timeout=within, **more)
        return self._read(response)

    @contextmanager
    def _failures(self, within: float) -> Iterator[None]:
        """Say what has failed within the block."""
        try:
            yield
        except (httpx.ConnectError, OSError) as error:
            raise AdminClientError(
                f"no server can be reached at {self._at}: {error}; is it running, with this"
                " --admin, as this user?"
            ) from None
        except httpx.TimeoutException:
            raise AdminClientError(
                f"the server at {self._at} did not answer within {within:g} s: whether it did"
                " what it was asked is not known"
            ) from None
        except httpx.HTTPError as error:
            raise AdminClientError(f"the server at {self._at} did not answer: {error}") from None

    def _read(self, response: httpx.Response) -> Any:
        """Return the body of an answer, or raise what is wrong."""
        try:
            body = response.json()
        except ValueError:
            body = None
        if response.is_success and body is not None:
            return body
        if not isinstance(body, dict) or "error" not in body:
            raise AdminClientError(
                f"{self._at} answered {response.status_code}, and not as an admin listener does:"
                f" {response.text[:100]!r}"
            )
        raise AdminClientError(f"{body['error']}: {body.get('hint', '')}".removesuffix(": "))

    def _look_for_listener(self) -> None:
        """Raise OSError if nobody listens on the Unix socket: httpcore would leave one open."""
        if self._is_socket:
            with socket.socket(socket.AF_UNIX) as tried:
                tried.connect(self._at)
