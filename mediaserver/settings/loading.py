"""Gathering the settings from flags, the environment and a TOML file."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from mediaserver.settings.model import ENV_PREFIX, EnvironmentSource, Settings, flag_of, variable_of


_DEFAULT_CONFIG: Final = Path("mediaserver.toml")


class SettingsError(ValueError):
    """The settings are invalid; `problems` has one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Settings:
    """Gather the settings from flags, the environment and a TOML file.

    Args:
        flags: Values from the command line, by the name of the setting. None means not given.
        config: TOML file. By default ``mediaserver.toml`` in the working directory, if it exists.

    Raises:
        SettingsError: A value is wrong, a name in the file is unknown, or the file cannot be read.

    """
    flags = {name: value for name, value in (flags or {}).items() if value is not None}
    environment = EnvironmentSource(Settings)()
    file = _read_toml(config)
    source = str(config or _DEFAULT_CONFIG)

    def origin(name: str) -> str:
        if name in flags:
            return flag_of(name)
        if name in environment:
            return variable_of(name)
        return f"{source}: {name}"

    values = {**file, **environment, **flags}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_problems(error, values, origin)) from None


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return a warning for each ``MEDIASERVER_…`` variable that is not a setting.

    Variables that Kubernetes sets for a service named ``mediaserver`` are ignored.
    """
    known = {variable_of(name) for name in Settings.model_fields}
    warnings = []
    for name in sorted(os.environ if environment is None else environment):
        upper = name.upper()
        if not upper.startswith(ENV_PREFIX) or upper in known:
            continue
        if re.fullmatch(rf"{ENV_PREFIX}(SERVICE_.*|PORT_\d+_.*)", upper):
            continue
        setting = upper.removeprefix(ENV_PREFIX).lower()
        near = _near(setting, Settings.model_fields, variable_of)
        warnings.append(f"{name} is not a setting{near}")
    return warnings


def _read_toml(config: Path | None) -> dict[str, Any]:
    path = config or _DEFAULT_CONFIG
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        if config is None:
            return {}
        raise SettingsError([f"{path}: there is no such file"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: not TOML: {error}"]) from None


def _problems(
    error: ValidationError, values: Mapping[str, Any], origin: Callable[[str], str]
) -> list[str]:
    problems = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        message = detail["msg"].removeprefix("Value error, ")
        if not detail["loc"]:
            problems.append(message)
            continue
        name = str(detail["loc"][0])
        if detail["type"] == "extra_forbidden" and isinstance(values[name], dict | list):
            problems.append(
                f"{origin(name)}: is a table. Settings stand outside of tables: leave out the line "
                f"[{name}]"
            )
            continue
        if detail["type"] == "extra_forbidden":
            problems.append(f"{origin(name)}: unknown setting{_near(name, Settings.model_fields)}")
            continue
        given = ""
        if not _is_secret(name):
            given = f" {str(values.get(name))[:100]!r}"
        message = message.replace("Input should ", "must ", 1)
        problems.append(f"{origin(name)}:{given} {message}")
    return problems


def _is_secret(name: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[name].annotation)


def _near(name: str, known: Iterable[str], write: Callable[[str], str] = str) -> str:
    match = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {write(match[0])}?" if match else ""
