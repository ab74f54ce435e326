from importlib import import_module
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine, inspect


def test_calls_that_were_recorded_before_have_no_cost(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'calls.db'}")
    versions = "mediaserver.records.migrations.versions"
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        import_module(f"{versions}.0001_calls").upgrade()
        connection.exec_driver_sql(
            "INSERT INTO calls (id, handler, route, path, process, journal, started_at)"
            " VALUES ('r1', 'Echo', '/stream', '/stream', 'a', 'j', '2027-01-15 08:00:00')"
        )
        import_module(f"{versions}.0002_costs").upgrade()
        found = connection.exec_driver_sql("SELECT cost, currency, transcript FROM calls").one()
        assert tuple(found) == (None, None, None)
        assert "cost" in {each["name"] for each in inspect(connection).get_columns("call_turns")}
    engine.dispose()
