import asyncio
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import Connection

from mediaserver.doctor.findings import Finding
from mediaserver.doctor.record_places import record_places
from mediaserver.doctor.subject import Subject
from mediaserver.records.database import DatabaseAwayError, RecordsDatabase
from mediaserver.settings import Settings
from tests.forbidden import forbid


def found(**settings: Any) -> Finding:
    return asyncio.run(record_places(Subject(Settings(**settings))))


def places(tmp_path: Path, **more: Any) -> dict[str, Any]:
    folder = tmp_path / "records"
    return {"records": str(folder / "calls.db"), "records_journal": folder / "journals", **more}


def test_without_records_nothing_is_asked() -> None:
    assert found().status == "skipped"


def test_a_file_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    finding = found(**places(tmp_path))
    assert (finding.status, finding.detail.endswith("will be made")) == ("ok", True)
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_answers_passes_with_its_version(tmp_path: Path) -> None:
    options = places(tmp_path)
    database = RecordsDatabase(f"sqlite:///{options['records']}")
    database.prepare()
    database.close()
    finding = found(**options)
    assert finding.status == "ok"
    assert "tables of version 0002" in finding.detail
    shutil.rmtree(tmp_path / "records")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"records_journal": "/dev/null/journals"}, "journal cannot be written"),
        ({"records": "/dev/null/calls.db"}, "calls.db cannot be made"),
        ({"records": "postgresql:///calls?host=/nowhere"}, "the database cannot be used"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, more: Any, text: str) -> None:
    finding = found(**places(tmp_path, **more))
    assert finding.status == "failed"
    assert text in finding.detail
    assert finding.remedy


def test_a_database_that_cannot_be_read_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = places(tmp_path)
    with closing(RecordsDatabase(f"sqlite:///{options['records']}")) as database:
        database.prepare()
    opened: list[Any] = []

    def damaged(connection: Connection) -> NoReturn:
        opened.append(connection.connection.dbapi_connection)
        raise DatabaseAwayError("it is damaged")

    monkeypatch.setattr("mediaserver.records.migrating.version_of", damaged)
    assert "it is damaged" in found(**options).detail
    (used,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        used.execute("SELECT 1")


def test_a_folder_that_this_user_cannot_reach_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = places(tmp_path)
    forbid(monkeypatch, options["records_journal"])
    finding = found(**options)
    assert finding.status == "failed"
    assert f"cannot look into the folder of {options['records_journal']}" in finding.detail
    assert finding.remedy == "run doctor as the server's user or root"


def test_the_end_does_not_wait_for_a_database_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, over, ended = threading.Event(), threading.Event(), threading.Event()

    def hang(_: Settings) -> None:
        asked.set()
        over.wait(60)
        ended.set()

    monkeypatch.setattr("mediaserver.doctor.record_places._look", hang)

    async def gives_up() -> None:
        looking = asyncio.ensure_future(record_places(Subject(Settings(**places(tmp_path)))))
        await asyncio.to_thread(asked.wait, 30)
        looking.cancel()

    try:
        # It waits for the threads of asyncio.
        asyncio.run(gives_up())
        assert not ended.is_set()
    finally:
        over.set()
