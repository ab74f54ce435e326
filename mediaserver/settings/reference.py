"""The reference of all settings, as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, get_args

from pydantic.fields import FieldInfo

from mediaserver.settings.model import Settings, Unit, flag_of, variable_of


_REFERENCE_HEAD: Final = """\
# Settings

<!-- Written by `python -m mediaserver.settings`. Change mediaserver/settings/model.py. -->

Set each as a flag of `mediaserver serve`, as an environment variable, or in a TOML file
(`--config`, by default `mediaserver.toml` in the working directory). A flag wins over the
environment, the environment over the file. In the file, write a flag's name with underscores:
`max_calls = 50`. Durations are in seconds, sizes in bytes.
"""


def group_of(field: FieldInfo) -> str:
    """Return the group that lists a setting."""
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def default_of(field: FieldInfo) -> str:
    """Return a setting's default as a user would write it, or an empty string."""
    value = field.default
    if field.default_factory is not None:
        return "random"
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def unit_of(field: FieldInfo) -> str:
    """Return what a setting is a number of, such as SECONDS; an empty string for other settings."""
    return next(_units((*field.metadata, field.annotation)), "")


def _units(parts: Iterable[Any]) -> Iterator[str]:
    """Yield the units in types: `Annotated` may be within a union."""
    for part in parts:
        if isinstance(part, Unit):
            yield part
        elif not isinstance(part, str):
            yield from _units(get_args(part))


def reference() -> str:
    """Return every setting as a page of Markdown."""
    lines = _REFERENCE_HEAD.splitlines()
    group = ""
    for name, field in Settings.model_fields.items():
        if group_of(field) != group:
            group = group_of(field)
            lines += [
                "",
                f"## {group}",
                "",
                "| flag | environment | default | |",
                "|---|---|---|---|",
            ]
        default = default_of(field)
        flag = "SPEC…" if name == "handler" else flag_of(name)
        lines.append(
            f"| `{flag}` | `{variable_of(name)}` | {f'`{default}`' if default else ''} |"
            f" {field.description} |"
        )
    return "\n".join(lines) + "\n"
