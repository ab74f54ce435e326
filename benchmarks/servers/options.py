"""The flags that every peer server takes: the same names as `mediaserver serve`."""

import argparse
import ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Where to listen, and with which certificate."""

    host: str
    port: int
    ssl: ssl.SSLContext | None


def parse_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--ssl-certfile")
    parser.add_argument("--ssl-keyfile")
    arguments = parser.parse_args()
    context = None
    if arguments.ssl_certfile:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.ssl_certfile, arguments.ssl_keyfile)
    return Options(arguments.host, arguments.port, context)
