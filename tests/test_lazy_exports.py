import subprocess
import sys
from typing import Any

import pytest

import mediaserver
from mediaserver import plivo
from mediaserver.lazy_exports import lazy_exports


def test_a_name_is_found_in_the_first_module_that_has_it_and_kept() -> None:
    namespace: dict[str, Any] = {"__name__": "package", "__all__": ["dumps", "Fraction"]}
    get, _ = lazy_exports(namespace, ("json", "fractions", "there.is.none"))
    assert get("Fraction").__module__ == "fractions"
    assert namespace["Fraction"] is get("Fraction")
    assert get("dumps").__module__ == "json"


def test_names_that_are_not_exported_are_not_there() -> None:
    get, _ = lazy_exports({"__name__": "package", "__all__": ["loads"]}, ("json",))
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'dumps'"):
        get("dumps")


def test_all_names_are_listed() -> None:
    _, listed = lazy_exports({"__name__": "package", "__all__": ["loads"], "here": 1}, ("json",))
    assert listed() == ["__all__", "__name__", "here", "loads"]


@pytest.mark.parametrize("package", [mediaserver, plivo])
def test_every_exported_name_exists(package: Any) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert {*package.__all__} <= {*dir(package)}


def test_a_server_without_an_account_imports_no_client_and_no_agent() -> None:
    code = (
        "import sys\n"
        "import mediaserver.cli.serving, mediaserver.server.process.daemon\n"
        "heavy = ('httpx', 'mediaserver.plivo.models', 'mediaserver.agents',"
        " 'mediaserver.sandbox')\n"
        "print([each for each in heavy if each in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "[]\n"
