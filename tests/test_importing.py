import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediaserver.handler import HandlerError
from mediaserver.importing import find_attribute, import_named


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refusal(spec: str) -> str:
    with pytest.raises(HandlerError) as refused:
        import_named(spec)
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    "spec", ["shop:sell", "shop.py:sell", "./shop:sell", "./shop.py:sell", "../{here}/shop.py:sell"]
)
def test_a_module_or_its_file_is_imported(folder: Path, spec: str) -> None:
    (folder / "shop.py").write_text("sell = 1\n")
    module, name = import_named(spec.format(here=folder.name))
    assert (module.__name__, name, module.sell) == ("shop", "sell", 1)


def test_a_file_elsewhere_finds_the_modules_beside_it(folder: Path) -> None:
    (folder / "calls").mkdir()
    (folder / "calls" / "prices.py").write_text("TANDEM = 900\n")
    (folder / "calls" / "sales.py").write_text("from prices import TANDEM\n")
    assert import_named("calls/sales.py")[0].TANDEM == 900


@pytest.mark.parametrize("spec", ["bikes/sales.py", "bikes.sales", "./bikes/sales"])
def test_a_file_of_a_package_may_import_from_it(folder: Path, spec: str) -> None:
    (folder / "bikes").mkdir()
    (folder / "bikes" / "__init__.py").write_text("TANDEM = 900\n")
    (folder / "bikes" / "sales.py").write_text("from . import TANDEM\n")
    module, name = import_named(spec)
    assert (module.__name__, name) == ("bikes.sales", "")


def test_a_file_with_the_name_of_another_module_is_refused(folder: Path) -> None:
    (folder / "types.py").write_text("")
    assert "the name of another module, 'types': rename the file" in refusal("types.py")


def test_a_file_that_does_not_exist_is_named() -> None:
    assert "there is no file 'nosuch.py'" in refusal("./nosuch:echo")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("x = 1\ndef f(:\n", "shop.py:2: SyntaxError: "),
        ("\nimport nosuch_package\n", "shop.py:2: ModuleNotFoundError: No module named 'nosuch_"),
        ("from json import nosuch\n", "shop.py:1: ImportError: cannot import name"),
        ("raise ValueError('no\\nprice')\n", "shop.py:1: ValueError: no price"),
        ("class Panic(BaseException): ...\nraise Panic('bye')\n", "shop.py:2: Panic: bye"),
        ("import sys\nsys.exit('bye')\n", "shop.py:2: SystemExit: bye"),
        (
            "from mediaserver.agents import Menu\n\nMENU = Menu(prompt='nosuch.wav', choices={})\n",
            "shop.py:3: ",
        ),
        (
            "from mediaserver import Route\nROUTE = Route(print)\n",
            "shop.py:2: 'print' is not async",
        ),
    ],
)
def test_a_module_at_fault_is_told_by_its_line(folder: Path, code: str, text: str) -> None:
    (folder / "shop.py").write_text(code)
    assert refusal("shop").startswith(text)


def test_the_fault_of_a_module_that_it_imports_is_told_by_its_own_line(folder: Path) -> None:
    (folder / "shop.py").write_text("import prices\n")
    (folder / "prices.py").write_text("\n\n1 / 0\n")
    assert refusal("shop.py").startswith("prices.py:3: ZeroDivisionError: division by zero")


def test_a_missing_package_with_an_extra_says_what_to_install(folder: Path) -> None:
    (folder / "shop.py").write_text(
        "raise ModuleNotFoundError(\"it needs x: pip install '.[openai]'\", name='x')\n"
    )
    assert refusal("shop").endswith("pip install '.[openai]'")


def test_an_interruption_is_not_a_fault_of_the_module(folder: Path) -> None:
    (folder / "shop.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        import_named("shop")


def test_an_attribute_may_be_nested() -> None:
    import os

    assert find_attribute(os, "path.join") is os.path.join
