"""The tables of calls, of their turns, of the processes that write them, and of webhooks."""

from typing import Any

import sqlalchemy as sa
from alembic import op


revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)
_NUMBERS = (
    ("bytes_in", sa.BigInteger),
    ("bytes_out", sa.BigInteger),
    ("audio_dropped", sa.Double),
    ("audio_in", sa.Double),
    ("audio_out", sa.Double),
    ("checkpoints_confirmed", sa.BigInteger),
    ("checkpoints_sent", sa.BigInteger),
    ("frames_dropped", sa.BigInteger),
    ("frames_in", sa.BigInteger),
    ("frames_lost", sa.BigInteger),
    ("frames_out_of_order", sa.BigInteger),
    ("interrupts", sa.BigInteger),
    ("keys_in", sa.BigInteger),
    ("malformed_messages", sa.BigInteger),
    ("messages_in", sa.BigInteger),
    ("messages_out", sa.BigInteger),
    ("over_budget", sa.BigInteger),
    ("producer_gap_seconds", sa.Double),
    ("producer_gaps", sa.BigInteger),
    ("underrun_seconds", sa.Double),
    ("underruns", sa.BigInteger),
    ("unknown_messages", sa.BigInteger),
    ("loop_lag", sa.Double),
    ("turns", sa.BigInteger),
    ("turns_interrupted", sa.BigInteger),
    ("turns_failed", sa.BigInteger),
    ("barge_ins", sa.BigInteger),
    ("false_barge_ins", sa.BigInteger),
)
_USAGE = (
    ("tokens_in", sa.BigInteger),
    ("tokens_out", sa.BigInteger),
    ("tokens_cached", sa.BigInteger),
    ("characters", sa.BigInteger),
    ("speech_seconds", sa.Double),
)


def upgrade() -> None:
    """Bring the tables to this version."""
    op.create_table(
        "calls",
        sa.Column("id", sa.Text, primary_key=True),
        *_texts("call_id stream_id account_id direction caller called caller_key called_key"),
        *_texts("handler route path process journal", needed=True),
        *_texts("format tracks"),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.Column("seconds", sa.Double),
        *_texts("cause reason error recording"),
        sa.Column("first_audio", sa.Double),
        sa.Column("slowest_answer", sa.Double),
        *_numbers(_NUMBERS),
        *_numbers(_USAGE),
    )
    op.create_index("calls_by_call", "calls", ["call_id"])
    op.create_index("calls_by_stream", "calls", ["stream_id"])
    op.create_index("calls_by_start", "calls", ["started_at"])
    op.create_index("calls_by_caller", "calls", ["caller_key"])
    op.create_index("calls_by_called", "calls", ["called_key"])
    _partial_index("calls_live", "calls", "journal", "ended_at IS NULL")
    op.create_table(
        "call_turns",
        sa.Column("record", sa.Text, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("interrupted", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("end_of_turn", sa.Double),
        sa.Column("transcript", sa.Double),
        sa.Column("first_token", sa.Double),
        sa.Column("audio_sent", sa.Double),
        sa.Column("audio_heard", sa.Double),
        *_numbers(_USAGE),
        sa.Column("caller_words", sa.Integer, nullable=False),
        sa.Column("heard_words", sa.Integer, nullable=False),
        *_texts("caller agent"),
    )
    op.create_table(
        "call_writers",
        sa.Column("journal", sa.Text, primary_key=True),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
    )
    op.create_table(
        "call_webhooks",
        sa.Column("record", sa.Text, primary_key=True),
        sa.Column("due_at", _TIME),
        sa.Column("attempts", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("delivered_at", _TIME),
        sa.Column("last_error", sa.Text),
    )
    _partial_index("call_webhooks_due", "call_webhooks", "due_at", "due_at IS NOT NULL")


def _texts(names: str, *, needed: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, nullable=not needed) for name in names.split()]


def _numbers(kinds: Any) -> list[sa.Column[Any]]:
    zero = sa.text("0")
    return [sa.Column(name, kind, nullable=False, server_default=zero) for name, kind in kinds]


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], sqlite_where=condition, postgresql_where=condition)
