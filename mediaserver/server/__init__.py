"""The shell around calls: connections, HTTP, admission, drain, TLS, watchdog."""

from mediaserver.server.asgi import StreamApp, asgi
from mediaserver.server.process.daemon import run_server
from mediaserver.server.process.listening import BindError
from mediaserver.server.process.tls import TLSError
from mediaserver.telemetry.logs import default_logs


__all__ = ["BindError", "StreamApp", "TLSError", "asgi", "run_server"]

default_logs()
