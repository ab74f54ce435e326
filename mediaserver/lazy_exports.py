"""Packages that export names without importing the modules that define them."""

from __future__ import annotations


# Not the one of typing, because this module imports nothing.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def lazy_exports(
    namespace: dict[str, Any], homes: Sequence[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    At the first use of a name, the modules are imported one after the other until one has it.

    Args:
        namespace: The package's, which has ``__all__``.
        homes: The modules that define those names, the cheapest first.

    """

    def getattr_(name: str) -> Any:
        from importlib import import_module

        if name in namespace["__all__"]:
            for home in map(import_module, homes):
                if hasattr(home, name):
                    namespace[name] = getattr(home, name)
                    return namespace[name]
        raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")

    def dir_() -> list[str]:
        return sorted({*namespace, *namespace["__all__"]})

    return getattr_, dir_
