"""The customer's application: serves XML, and keeps every request it gets.

The servers under test send it reports too, at `/report`; see `interop.servers.report`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import plivo.utils


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        path: Path of the URL.
        fields: The form, or the JSON object, that came with it.
        signed: Whether the official SDK accepts its signature.

    """

    path: str
    fields: dict[str, Any]
    signed: bool


class Application:
    """A web server in a thread.

    Attributes:
        documents: XML by path; any other path gets an empty `<Response/>`.
        url: Where it listens.

    """

    def __init__(self, auth_token: str) -> None:
        self.documents: dict[str, str] = {}
        self._auth_token = auth_token
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def requests(self, path: str, /, **fields: object) -> list[Request]:
        """Return the requests to a path so far that have at least these fields."""
        with self._changed:
            return [
                each
                for each in self._requests
                if each.path == path and fields.items() <= each.fields.items()
            ]

    def wait_for(self, path: str, /, seconds: float = 30.0, **fields: object) -> dict[str, Any]:
        """Wait for a request to a path with at least these fields, and return all of its fields.

        Args:
            path: Path of the URL.
            seconds: How long to wait.
            fields: Fields and their values.

        Raises:
            AssertionError: No such request came; the message lists those that came.

        """
        with self._changed:
            if self._changed.wait_for(lambda: self.requests(path, **fields), seconds):
                return self.requests(path, **fields)[0].fields
            came = "\n".join(f"  {each.path} {each.fields}" for each in self._requests)
        raise AssertionError(f"no {path} with {fields} within {seconds:g} s; what came:\n{came}")

    def report(self, kind: str, /, seconds: float = 30.0, **fields: object) -> dict[str, Any]:
        """Wait for a report of a server under test."""
        return self.wait_for("/report", seconds, kind=kind, **fields)

    def reports(self, kind: str, /, **fields: object) -> list[dict[str, Any]]:
        """Return the reports of that kind so far."""
        return [each.fields for each in self.requests("/report", kind=kind, **fields)]

    @property
    def unsigned(self) -> list[Request]:
        """Callbacks whose signature the official SDK does not accept."""
        with self._changed:
            return [each for each in self._requests if not each.signed and each.path != "/report"]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, path: str, body: bytes, header: Callable[[str], str | None]) -> bytes:
        if header("content-type") == "application/json":
            fields = json.loads(body)
        else:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        request = Request(urlsplit(path).path, fields, self._is_signed(path, fields, header))
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        return self.documents.get(request.path, "<Response/>").encode()

    def _is_signed(
        self, path: str, fields: dict[str, str], header: Callable[[str], str | None]
    ) -> bool:
        nonce, signature = header("x-plivo-signature-v3-nonce"), header("x-plivo-signature-v3")
        return bool(
            nonce
            and signature
            and plivo.utils.validate_v3_signature(
                "POST", self.url + path, nonce, self._auth_token, signature, fields
            )
        )

    def _handler(application: Application) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                document = application._take(self.path, body, self.headers.get)
                self.send_response(200)
                self.send_header("content-type", "application/xml")
                self.send_header("content-length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
