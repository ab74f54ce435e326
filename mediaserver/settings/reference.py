"""The reference of all settings, as a page of Markdown."""

from __future__ import annotations

from typing import Final

from pydantic.fields import FieldInfo

from mediaserver.settings.model import Settings, flag_of, variable_of


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
