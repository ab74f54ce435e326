"""The server that the demo calls: the real daemon, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mediaserver.routes import Routes
from mediaserver.server.process.daemon import Daemon
from mediaserver.server.process.listening import bind
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings


class DemoServerError(RuntimeError):
    """The server did not start."""


@contextmanager
def serving(routes: Routes) -> Iterator[str]:
    """Run a server on a free port of the loopback interface, and yield the URL of its stream.

    It has its own event loop, as with ``mediaserver serve``, and stops when the block is left.

    Raises:
        BindError: The loopback interface cannot be listened on.
        DemoServerError: It did not start; the log says why.

    """
    # Without the environment and the file, which are for a real server.
    settings = Settings.model_construct(host="127.0.0.1", port=0)
    sockets = bind(settings)
    try:
        daemon = Daemon(Runtime(settings, routes))
        thread = threading.Thread(target=daemon.run, args=(sockets,), name="server")
        thread.start()
        try:
            while thread.is_alive() and not daemon.started:
                time.sleep(0.01)
            if not daemon.started:
                raise DemoServerError("the server did not start")
            yield f"ws://127.0.0.1:{sockets[0].getsockname()[1]}{routes.paths[0]}"
        finally:
            # The first stop drains; the second does not wait for calls that will not end.
            daemon.stop()
            daemon.stop()
            thread.join()
    finally:
        for sock in sockets:
            sock.close()
