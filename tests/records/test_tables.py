from datetime import UTC, datetime, timedelta, timezone

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite

from mediaserver.records.events import CallOver, TurnTaken
from mediaserver.records.tables import UtcTime, calls, turns


DIALECT = sqlite.dialect()


def columns(table: Table) -> set[str]:
    return {column.name for column in table.columns}


def test_what_is_recorded_of_a_call_has_columns() -> None:
    assert set(CallOver.__struct_fields__) - {"counts", "usage"} <= columns(calls)


def test_what_is_recorded_of_a_turn_has_columns() -> None:
    assert set(TurnTaken.__struct_fields__) - {"id"} | {"record"} == columns(turns)


def test_a_time_is_stored_in_utc_and_read_with_its_zone() -> None:
    noon = datetime(2027, 1, 15, 12, tzinfo=timezone(timedelta(hours=1)))
    kind = UtcTime()
    stored = kind.process_bind_param(noon, DIALECT)
    assert stored == noon
    assert stored.tzinfo is UTC
    naive = stored.replace(tzinfo=None)
    assert kind.process_result_value(naive, DIALECT) == noon
    assert kind.process_result_value(noon, DIALECT) == noon
    assert kind.process_bind_param(None, DIALECT) is None
    assert kind.process_result_value(None, DIALECT) is None
