"""Importing what a command line names: a module, a file, or a name in one of them."""

from __future__ import annotations

import importlib
import os
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from mediaserver.error_lines import error_lines
from mediaserver.handler import HandlerError


_DOTTED: Final = re.compile(r"[\w-]+(\.[\w-]+)*")


def import_named(spec: str) -> tuple[ModuleType, str]:
    """Import the module that `spec` names, and return it with the name after the colon, or ``""``.

    Args:
        spec: ``package.module``, or the path of a Python file, with or without ``:Name``. As with
            ``python -m``, modules of the working directory are found.

    Raises:
        HandlerError: says in one line why it cannot be imported. If the module itself is at fault,
            the line begins with its file and the number of the line.

    """
    place, colon, name = spec.rpartition(":")
    if not colon:
        place, name = spec, ""
    is_file = place.endswith(".py") or re.search(r"[/\\]", place)
    if not (is_file or _DOTTED.fullmatch(place)) or (colon and not _DOTTED.fullmatch(name)):
        raise HandlerError(
            f"a handler is named package.module:Name or my_agent.py:Name, not {spec!r}"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if is_file:
        return _import_file(place), name
    return _import(place, spec), name


def find_attribute(module: ModuleType, name: str) -> Any:
    """Return what has a name, with or without dots, in a module.

    Raises:
        HandlerError: there is no such name. The message has the nearest one.

    """
    target: Any = module
    for part in name.split("."):
        if not hasattr(target, part):
            near = get_close_matches(part, dir(target), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise HandlerError(f"{module.__name__!r} has no {name!r}{hint}")
        target = getattr(target, part)
    return target


def _import_file(place: str) -> ModuleType:
    path = Path(place)
    if path.is_dir():
        path /= "__init__.py"
    elif path.suffix != ".py":
        path = path.with_name(f"{path.name}.py")
    if not path.is_file():
        raise HandlerError(f"there is no file {str(path)!r}: check the path and the spelling")
    path = path.resolve()
    parts = [] if path.name == "__init__.py" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        # The file is a part of a package, and may import from it.
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    name = ".".join(parts)
    module = _import(name, place)
    if module.__file__ is None or not path.samefile(module.__file__):
        raise HandlerError(f"{place} has the name of another module, {name!r}: rename the file")
    return module


def _import(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise HandlerError(f"{error_lines(error)[0]}{_hint(error)}") from error
        raise HandlerError(
            f"there is no module {error.name!r} (from {spec!r}): "
            "check the spelling, and that you are in the folder that holds it"
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise HandlerError("\n".join(error_lines(error))) from error


def _hint(error: ModuleNotFoundError) -> str:
    if "pip install" in str(error):
        return ""
    return ": install the package that has it, in the environment of this command"
