"""Alembic's migrations of the database of call records."""
