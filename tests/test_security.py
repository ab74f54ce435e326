"""The list of threats names a test for each."""

import ast
import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
ROWS = [
    line
    for line in (ROOT / "docs/security.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]


@pytest.mark.parametrize("row", ROWS, ids=[row.split(" | ")[0].strip("| ") for row in ROWS])
def test_each_threat_has_a_test(row: str) -> None:
    threat, answer, tests = (each.strip() for each in row.strip("|").split(" | "))
    assert threat
    assert answer
    named = re.findall(r"`(tests/\S+?\.py)::(test_\w+)`", tests)
    assert named
    # Nothing else is in the column.
    assert " ".join(f"`{file}::{name}`" for file, name in named) == tests
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        defined = {
            each.name
            for each in tree.body
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in defined, f"{file} has no {name}"


def test_the_list_is_read() -> None:
    assert len(ROWS) > 40
