"""An admin listener on a Unix socket, in a thread, whose answers a test chooses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer


class AdminListener:
    """Answers every request by what `answer` returns for its path: a status and a body."""

    def __init__(self, path: Path, answer: Callable[[str], tuple[int, bytes]]) -> None:
        self.path = path
        self.asked: list[str] = []
        asked = self.asked

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                status, body = answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_request(self, *_: object) -> None:
                pass

            def address_string(self) -> str:
                return "a Unix socket"

        self._server = UnixStreamServer(str(path), Answers)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
