"""The shell around calls: connections, HTTP, admission, drain, TLS, watchdog."""

from mediaserver.server.asgi import StreamApp, asgi
from mediaserver.server.daemon import BindError, serve
from mediaserver.server.tls import TLSError
from mediaserver.telemetry.logs import default_logs


__all__ = ["BindError", "StreamApp", "TLSError", "asgi", "serve"]

default_logs()
