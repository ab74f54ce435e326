"""A receiver of OpenTelemetry traces in a process of its own: takes OTLP over HTTP, counts spans.

    python -m benchmarks.trace_receiver --host 127.0.0.1 --port 4318

`GET /spans` tells how many spans have come, by name.
"""

import argparse
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Receiver(BaseHTTPRequestHandler):
    """Answers exporters of traces, and whoever asks how many came."""

    protocol_version = "HTTP/1.1"
    spans: ClassVar[Counter[str]] = Counter()
    """How many spans have come, by name."""

    def do_POST(self) -> None:
        """Take spans."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.update(span.name for span in scope.spans)
        self._answer(b"")

    def do_GET(self) -> None:
        """Tell how many came."""
        self._answer(msgspec.json.encode(dict(self.spans)))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> int:
    """Receive until the process is stopped."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trace_receiver")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4318)
    chosen = parser.parse_args()
    ThreadingHTTPServer((chosen.host, chosen.port), Receiver).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
