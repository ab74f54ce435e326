"""Check that each public name at the top of a module names one thing in all of the packages.

Counts classes, functions and type aliases. `mediaserver.plivo.xml` is exempt: its names are Plivo's
tags, always written `xml.Stream`. So are Alembic's migrations, each of which has an `upgrade`.

    python -m tools.public_names
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


ROOT = Path(__file__).parent.parent
PACKAGES = (ROOT / "mediaserver", ROOT / "codecs" / "audiocodecs")
EXEMPT = ("mediaserver/plivo/xml.py", "mediaserver/records/migrations/versions/")


def named(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the classes, functions and type aliases of a module."""
    for node in tree.body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias")):
                yield name
            # An alias without an annotation, and not a CONSTANT.
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Subscript() | ast.BinOp() | ast.Name() | ast.Attribute(),
            ) if name[0].isupper() and not name.isupper():
                yield name


def main() -> int:
    """Return the exit status."""
    places: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            module = path.relative_to(ROOT).as_posix()
            if not module.startswith(EXEMPT):
                for name in named(ast.parse(path.read_text(encoding="utf-8"))):
                    places[name].add(module)
    twice = sorted(
        f"{name} is in {', '.join(sorted(modules))}"
        for name, modules in places.items()
        if len(modules) > 1 and not name.startswith("_")
    )
    print("\n".join(twice) or "every public name names one thing")
    return int(bool(twice))


if __name__ == "__main__":
    sys.exit(main())
