"""The options of a command that takes every setting of a server."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from mediaserver.settings import Settings, default_of, flag_of, group_of, unit_of


def signature_with_settings(verb: str, **more: tuple[Any, Any]) -> inspect.Signature:
    """Return the signature of a command with ``SPEC…``, ``--config`` and an option per setting.

    Args:
        verb: What is done with the handlers, for the help.
        **more: The type and the `typer.Option` of each further option; its default is the type's.

    """
    parameters = [
        _parameter(
            "spec",
            list[str] | None,
            typer.Argument(metavar="SPEC…", help=f"Handlers to {verb}.", show_default=False),
        ),
        _parameter(
            "config",
            Path | None,
            typer.Option(
                "--config",
                "-c",
                help="TOML file with settings; by default mediaserver.toml, if it exists.",
            ),
        ),
    ]
    for name, field in Settings.model_fields.items():
        if name == "handler":
            continue
        default = default_of(field)
        flag = flag_of(name)
        annotation: Any = str | None
        if field.annotation is bool:
            annotation = bool | None
            flag = f"{flag}/--no-{flag[2:]}"
        option = typer.Option(
            flag,
            help=f"{field.description}{f' (default {default})' if default else ''}",
            metavar=None if field.annotation is bool else _metavar(field),
            rich_help_panel=group_of(field),
            show_default=False,
        )
        parameters.append(_parameter(name, annotation, option))
    for name, (kind, option) in more.items():
        parameters.append(_parameter(name, kind, option, False if kind is bool else None))
    return inspect.Signature(parameters)


def _parameter(name: str, kind: Any, info: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )


def _metavar(field: FieldInfo) -> str:
    for kind in (field.annotation, *get_args(field.annotation)):
        if get_origin(kind) is Literal:
            return "|".join(get_args(kind))
    return unit_of(field) or ("PATH" if "Path" in str(field.annotation) else "TEXT")
