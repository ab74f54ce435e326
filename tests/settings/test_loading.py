import ipaddress
from pathlib import Path
from typing import Any

import pytest

from mediaserver.settings import (
    SettingsError,
    load_settings,
    unknown_variables,
)


def problems(flags: Any = None, config: Any = None) -> Any:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, config)
    assert str(caught.value).splitlines() == caught.value.problems
    return caught.value.problems


def test_the_default_file_is_read(tmp_path: Any) -> None:
    Path("mediaserver.toml").write_text("max_calls = 3\n")
    assert load_settings().max_calls == 3


def test_the_environment_wins_over_the_file(monkeypatch: Any) -> None:
    Path("mediaserver.toml").write_text("max_calls = 3\nport = 1\n")
    monkeypatch.setenv("MEDIASERVER_MAX_CALLS", "4")
    loaded = load_settings()
    assert (loaded.max_calls, loaded.port) == (4, 1)


def test_a_flag_wins_over_the_environment(monkeypatch: Any) -> None:
    Path("mediaserver.toml").write_text("max_calls = 3\n")
    monkeypatch.setenv("MEDIASERVER_MAX_CALLS", "4")
    assert load_settings({"max_calls": "5", "port": None}).max_calls == 5


def test_another_file_can_be_named(tmp_path: Any) -> None:
    path = tmp_path / "other.toml"
    path.write_text('handler = ["a:B", "/c=d:E"]\ntrusted_proxies = ["10.0.0.0/8"]\n')
    loaded = load_settings(config=path)
    assert loaded.handler == ("a:B", "/c=d:E")
    assert loaded.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"),)


def test_a_named_file_must_be_there() -> None:
    assert problems(config=Path("nowhere.toml")) == ["nowhere.toml: there is no such file"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Any) -> None:
    assert problems(config=tmp_path)[0].startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("content", [b"max_calls = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(content: Any) -> None:
    Path("mediaserver.toml").write_bytes(content)
    (problem,) = problems()
    assert problem.startswith("mediaserver.toml: not TOML: ")


def test_an_unknown_name_in_the_file_is_named_with_a_near_one() -> None:
    Path("mediaserver.toml").write_text("max_cals = 3\n")
    assert problems() == ["mediaserver.toml: max_cals: unknown setting; did you mean max_calls?"]


def test_a_table_is_told_from_a_misspelt_setting(tmp_path: Path) -> None:
    (tmp_path / "mediaserver.toml").write_text("max_calls = 3\n[server]\nport = 9\n[[tls]]\n")
    hint = "is a table. Settings stand outside of tables: leave out the line"
    assert problems() == [
        f"mediaserver.toml: server: {hint} [server]",
        f"mediaserver.toml: tls: {hint} [tls]",
    ]


def test_each_problem_says_where_it_comes_from(monkeypatch: Any) -> None:
    Path("mediaserver.toml").write_text("max_calls = 0\n")
    monkeypatch.setenv("MEDIASERVER_PORT", "70000")
    found = problems({"lead_seconds": "soon"})
    assert len(found) == 3
    assert found[0].startswith("MEDIASERVER_PORT: '70000' ")
    assert found[1].startswith("mediaserver.toml: max_calls: '0' ")
    assert found[2].startswith("--lead-seconds: 'soon' ")


def test_a_variable_that_names_no_setting_is_pointed_out() -> None:
    environment = {
        "MEDIASERVER_MAXCALLS": "1",
        "MEDIASERVER_PORT": "1",
        "mediaserver_host": "h",
        "HOME": "/",
        # What Kubernetes sets for a service of this name.
        "MEDIASERVER_SERVICE_HOST": "10.0.0.1",
        "MEDIASERVER_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_variables(environment) == [
        "MEDIASERVER_MAXCALLS is not a setting; did you mean MEDIASERVER_MAX_CALLS?"
    ]


def test_the_real_environment_is_looked_at_by_default(monkeypatch: Any) -> None:
    monkeypatch.setenv("MEDIASERVER_ZZZ", "1")
    assert unknown_variables() == ["MEDIASERVER_ZZZ is not a setting"]
