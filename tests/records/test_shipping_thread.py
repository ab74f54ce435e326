import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mediaserver.records.database import RecordsDatabase
from mediaserver.records.events import encode_events
from mediaserver.records.journal import Journal
from mediaserver.records.shipping import Shipper
from mediaserver.records.shipping_thread import ShippedFigures, ShippingThread
from mediaserver.settings import Settings
from tests.records.conftest import over


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journals")
    yield made
    made.close(remove=True)


def thread(journal: Journal, url: str, **more: Any) -> tuple[ShippingThread, ShippedFigures]:
    settings = Settings(records=url, records_journal=journal.path.parent, **more)  # type: ignore[arg-type]
    figures = ShippedFigures()
    return ShippingThread(settings, "node1/w1", journal, figures), figures


def test_a_thread_ships_until_its_end(
    journal: Journal,
    sqlite_url: str,
    sqlite_database: RecordsDatabase,
    wait_until: Callable[[Callable[[], object]], None],
) -> None:
    own, figures = thread(journal, sqlite_url)
    journal.append(encode_events([over("a")]))
    own.start()
    wait_until(lambda: figures.stored == 1)
    journal.append(encode_events([over("b")]))
    journal.end_segment()
    assert own.close(60)
    assert sqlite_database.record("b") is not None


def test_without_a_database_the_end_says_so(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    own, _ = thread(journal, f"sqlite:///{tmp_path / 'file' / 'calls.db'}")
    own.start()
    assert not own.close(60)


@pytest.mark.parametrize("fault", [ValueError("no port"), ImportError("no pq wrapper")])
def test_a_database_that_cannot_be_used_is_logged_and_away(
    journal: Journal,
    sqlite_url: str,
    fault: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(*_: object) -> NoReturn:
        raise fault

    monkeypatch.setattr(RecordsDatabase, "__init__", fails)
    own, figures = thread(journal, sqlite_url)
    own.start()
    assert not own.close(60)
    assert figures.database_away
    assert str(fault) in caplog.text
    assert "cannot be brought to the database" in caplog.text


def test_a_fault_that_nobody_foresaw_ends_no_thread(
    journal: Journal,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[[Callable[[], object]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("mediaserver.records.shipping_thread._AFTER_FAULT", 0.01)
    step = Shipper.step
    mended = threading.Event()
    monkeypatch.setattr(
        Shipper, "step", lambda self: step(self) if mended.is_set() else float(1 / 0)
    )
    own, figures = thread(journal, sqlite_url)
    journal.append(encode_events([over("a")]))
    own.start()
    wait_until(lambda: "could not be brought" in caplog.text)
    assert figures.database_away
    mended.set()
    wait_until(lambda: not figures.database_away)
    assert figures.stored == 1
    assert own.close(60)


def test_a_webhook_is_told(
    journal: Journal, sqlite_url: str, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    told: list[Any] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    own, figures = thread(
        journal,
        sqlite_url,
        records_webhook=f"http://127.0.0.1:{server.server_port}/calls",
        records_webhook_secret="s" * 16,
    )
    journal.append(encode_events([over()]))
    own.start()
    wait_until(lambda: figures.webhooks["delivered"])
    assert own.close(60)
    server.shutdown()
    serving.join()
    server.server_close()
    assert told[0]["data"]["id"] == "r1"
