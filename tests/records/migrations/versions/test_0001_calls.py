from pathlib import Path

from sqlalchemy import inspect

from mediaserver.records.database import RecordsDatabase


def test_a_new_database_gets_its_tables_and_indexes(tmp_path: Path) -> None:
    database = RecordsDatabase(f"sqlite:///{tmp_path / 'calls.db'}")
    database.prepare()
    with database.reading() as connection:
        inspector = inspect(connection)
        assert {"calls", "call_turns", "call_writers", "call_webhooks"} <= set(
            inspector.get_table_names()
        )
        assert "calls_live" in {each["name"] for each in inspector.get_indexes("calls")}
    database.close()
