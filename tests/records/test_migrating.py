import contextlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from structlog.testing import capture_logs

import mediaserver.records
from mediaserver.records.database import RecordsDatabase
from mediaserver.records.migrating import HEAD, VERSION_TABLE
from mediaserver.records.tables import METADATA


def test_the_migrations_make_the_tables(database: RecordsDatabase) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == HEAD


def test_the_newest_version_is_named() -> None:
    folder = Path(mediaserver.records.__file__).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_database_of_the_newest_version_is_left_alone(sqlite_database: RecordsDatabase) -> None:
    with capture_logs() as logs:
        sqlite_database.prepare()
    assert logs == []


def test_the_first_migration_of_a_process_logs_nothing_of_its_tool(tmp_path: Path) -> None:
    program = (
        "import logging; logging.basicConfig(level=logging.INFO)\n"
        "from mediaserver.records.database import RecordsDatabase\n"
        f"database = RecordsDatabase('sqlite:///{tmp_path / 'calls.db'}')\n"
        "database.prepare(); database.close()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "was migrated" in ran.stderr
    assert not ran.stdout
    assert "alembic" not in ran.stderr


def test_two_servers_of_one_process_migrate_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, upgrade, met = threading.Barrier(2), command.upgrade, []

    def upgrade_together(config: Config, revision: str) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            met.append(both.wait(0.2))
        upgrade(config, revision)

    def prepare(name: str) -> bool:
        database = RecordsDatabase(f"sqlite:///{tmp_path / name}")
        database.prepare()
        with database.reading() as connection:
            tables = inspect(connection).has_table("call_turns")
        database.close()
        return tables

    monkeypatch.setattr(command, "upgrade", upgrade_together)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(prepare, ("one.db", "two.db"))) == [True, True]
    assert met == []


def test_a_database_of_a_newer_version_goes_on_being_written(
    sqlite_database: RecordsDatabase,
) -> None:
    with sqlite_database.transaction() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with capture_logs() as logs:
        sqlite_database.prepare()
    assert [each["event"] for each in logs] == [
        "the database of call records is of another version of mediaserver"
    ]
    with sqlite_database.reading() as connection:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    assert found == "9999"
