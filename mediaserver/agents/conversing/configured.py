"""Settings that are attributes of a class and keyword arguments of its instances."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any


class Configured:
    """Accepts the attributes that its subclasses declare as keyword arguments, and no others.

    Raises:
        TypeError: a setting does not exist. The message names the nearest one.

    """

    def __init__(self, **settings: Any) -> None:
        names = self.setting_names()
        for name, value in settings.items():
            if name not in names:
                near = get_close_matches(name, names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f": it has {', '.join(names)}"
                raise TypeError(f"{type(self).__qualname__} has no setting {name!r}{hint}")
            setattr(self, name, value)

    @classmethod
    def setting_names(cls) -> list[str]:
        """Return the names of the settings: the public attributes that the classes declare."""
        names: dict[str, None] = {}
        for kind in reversed(cls.__mro__):
            if issubclass(kind, Configured):
                names.update(dict.fromkeys(inspect.get_annotations(kind)))
        return [name for name in names if not name.startswith("_")]
