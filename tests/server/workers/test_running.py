import socket
import sys
from pathlib import Path

import pytest

from mediaserver.server.process.listening import BindError
from mediaserver.server.process.tls import TLSError
from mediaserver.server.workers.running import run_supervisor
from mediaserver.settings import Settings


# A worker that takes its orders, says that it is ready, waits to be asked to stop, and ends.
WORKER = """
import os, sys, time
from pathlib import Path
from mediaserver.server.workers.channel import receive_message, send_message
from mediaserver.server.workers.duty import duty
from mediaserver.server.workers.messages import Ready, StopWorker
Path(sys.argv[1]).write_text(os.environ["MEDIASERVER_SECRET"] + str(os.getsid(0) == os.getpid()))
given = duty()
send_message(given.sock, Ready())
os.kill(os.getppid(), 15)
while not isinstance(receive_message(given.sock)[0], StopWorker):
    pass
"""


def settings(**more: object) -> Settings:
    given = {"workers": 1, "port": 0, "handler": ("a:B",), "admin": "off"}
    return Settings(**(given | more))  # type: ignore[arg-type]


def test_workers_are_started_and_told_to_stop(tmp_path: Path) -> None:
    made = settings()
    wrote = tmp_path / "wrote"
    assert run_supervisor(made, [sys.executable, "-c", WORKER, str(wrote)]) == 0
    # All workers have the secret, and none of them the terminal.
    assert wrote.read_text() == made.secret.get_secret_value() + "True"


def test_a_worker_that_cannot_start_gives_its_status() -> None:
    assert run_supervisor(settings(), [sys.executable, "-c", "raise SystemExit(3)"]) == 3


def test_what_is_wrong_is_found_before_a_worker_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match="another process has this port"):
            run_supervisor(settings(port=port), ["unused"])
    with pytest.raises(TLSError, match="no-such-file"):
        run_supervisor(settings(ssl_certfile=Path("no-such-file")), ["unused"])
