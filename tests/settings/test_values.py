import ipaddress
import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from audiocodecs import L16_16K
from mediaserver.settings import (
    Settings,
    SettingsError,
    flag_of,
    load_settings,
)
from mediaserver.settings.values import (
    database_key,
    is_loopback,
    may_be_public,
    read_admin,
    read_metrics,
    read_node_address,
    read_records,
    read_webhook_url,
    runtime_folder,
    split_address,
    state_folder,
)


def problems(flags: Any = None, config: Any = None) -> Any:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, config)
    assert str(caught.value).splitlines() == caught.value.problems
    return caught.value.problems


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("path", "stream", "must start with /"),
        ("path", "/a?b", "no space, query or fragment"),
        ("public_url", "voice.example.com", "must be a URL such as https://"),
        ("public_url", "https://h/?a=1", "no user name, query or fragment"),
        ("public_url", "https://h:99999", "[Pp]ort"),
        ("public_url", "https://h/a b", "without spaces"),
        ("trusted_proxies", "10.0.0.1/8", "CIDR ranges"),
        ("trusted_proxies", "everybody", "CIDR ranges"),
        ("default_format", "audio/x-alaw;rate=8000", "Plivo streams carry"),
        ("default_format", "mp3", "mp3"),
        ("inbox_overflow", "explode", "'drop' or 'pause'"),
        ("log_level", "loud", "'debug', 'info'"),
        ("on_end", "dance", "must be hangup, or an http"),
        ("busy_redirect", "ftp://h", "must be an http"),
        ("max_call_seconds", "-1", "greater than 0"),
        ("drain_delay", "inf", "finite"),
        ("max_silence_seconds", "nan", "finite"),
        ("access_log", "perhaps", "boolean"),
        ("port", "tcp://10.0.0.1:8000", "enableServiceLinks"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(name: Any, value: Any, text: Any) -> None:
    (problem,) = problems({name: value})
    assert problem.startswith(f"{flag_of(name)}: {value!r} ")
    assert re.search(text, problem)


def test_a_trusted_proxy_that_is_no_text_is_refused() -> None:
    Path("mediaserver.toml").write_text("trusted_proxies = 7\n")
    assert "CIDR ranges" in problems()[0]


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        ("https://voice.example.com/", "https://voice.example.com"),
        ("wss://voice.example.com:8443", "https://voice.example.com:8443"),
        ("ws://h/media/", "http://h/media"),
        ("off", None),
    ],
)
def test_a_public_url_is_kept_in_one_form(given_url: Any, kept: Any) -> None:
    assert load_settings({"public_url": given_url}).public_url == kept


@pytest.mark.parametrize("word", ["off", "none", "OFF", ""])
def test_a_guard_can_be_switched_off(word: Any) -> None:
    assert load_settings({"max_call_seconds": word}).max_call_seconds is None


def test_lists_are_separated_by_commas() -> None:
    loaded = load_settings({"handler": "a:B, /c=d:E,", "trusted_proxies": "10.0.0.0/8, ::1"})
    assert loaded.handler == ("a:B", "/c=d:E")
    assert loaded.trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1"),
    )


def test_a_format_is_parsed() -> None:
    loaded = load_settings({"default_format": "audio/x-l16;rate=16000"})
    assert loaded.default_format == L16_16K
    assert Settings(default_format=L16_16K).default_format == L16_16K


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("AUTO", "auto"),
        ("off", "off"),
        (False, "off"),
        (True, "shared"),
        ("9100", "127.0.0.1:9100"),
        (9100, "127.0.0.1:9100"),
        ("0.0.0.0:9100", "0.0.0.0:9100"),
        ("[::1]:9100", "[::1]:9100"),
    ],
)
def test_metrics_are_at_a_known_place_or_an_address(given: Any, read: str) -> None:
    assert read_metrics(given) == read


@pytest.mark.parametrize("given", ["on", "localhost", "localhost:http", "::1:9100", "1:70000", ""])
def test_a_place_for_metrics_that_is_none_says_what_is(given: str) -> None:
    with pytest.raises(ValueError, match=r"auto, shared, off, or an address such as 127\.0\.0\.1"):
        read_metrics(given)


def test_an_address_has_a_host_and_a_port() -> None:
    assert split_address("[::1]:9100") == ("::1", 9100)
    assert split_address("localhost:0") == ("localhost", 0)


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("10.1.2.3", False),
        ("0.0.0.0", True),
        ("::", True),
        ("", True),
        ("203.0.114.7", True),
        ("voice.example.com", True),
    ],
)
def test_what_is_not_private_for_certain_may_be_public(host: str, public: bool) -> None:
    assert may_be_public(host) is public


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (False, "off"),
        ("Off", "off"),
        ("AUTO", "auto"),
        (" /run/mediaserver/admin.sock", "/run/mediaserver/admin.sock"),
        ("./Admin.sock", "./Admin.sock"),
        ("8001", "127.0.0.1:8001"),
        ("0.0.0.0:8001", "0.0.0.0:8001"),
        ("[::1]:8001", "[::1]:8001"),
    ],
)
def test_operators_are_served_at_a_socket_or_an_address(value: Any, read: str) -> None:
    assert read_admin(value) == read


@pytest.mark.parametrize("value", [True, "on", "admin.sock", "127.0.0.1:99999", "::1:80", ""])
def test_another_place_for_operators_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="must be auto, off, the path of a Unix socket"):
        read_admin(value)


def test_sockets_are_in_a_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/mediaserver:/run/other")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert runtime_folder() == Path("/run/mediaserver")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert runtime_folder() == Path("/run/user/1000/mediaserver")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime_folder().name == f"mediaserver-{os.geteuid()}"


def test_the_path_of_a_unix_socket_is_short() -> None:
    with pytest.raises(ValueError, match="at most 103 bytes"):
        read_admin("/" + "a" * 103)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("127.0.0.7", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("example.com", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, own: bool) -> None:
    assert is_loopback(host) is own


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5:8000", "http://10.0.0.5:8000"),
        ("https://node-1.internal:8443", "https://node-1.internal:8443"),
        ("[::1]:80", "http://[::1]:80"),
        ("off", None),
    ],
)
def test_the_address_of_a_node_has_a_scheme(text: str, address: str | None) -> None:
    assert read_node_address(text) == address


@pytest.mark.parametrize("text", ["10.0.0.5", "10.0.0.5:80/path", "ftp://a:1", "a:b"])
def test_the_address_of_a_node_has_a_host_and_a_port_and_no_more(text: str) -> None:
    with pytest.raises(ValueError, match="must be such as"):
        read_node_address(text)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("postgresql://me:x@db/calls", "postgresql+psycopg://me:x@db/calls"),
        (
            "postgres://db:5433/calls?sslmode=require",
            "postgresql+psycopg://db:5433/calls?sslmode=require",
        ),
        ("postgresql+psycopg://db/calls", "postgresql+psycopg://db/calls"),
        ("/var/lib/calls.db", "sqlite:////var/lib/calls.db"),
        ("sqlite:////var/lib/calls.db", "sqlite:////var/lib/calls.db"),
        (SecretStr("/var/lib/calls.db"), "sqlite:////var/lib/calls.db"),
        ("off", None),
        (False, None),
        ("", None),
    ],
)
def test_records_are_a_file_or_a_database(value: Any, url: str | None) -> None:
    assert read_records(value) == url


def test_a_file_of_records_is_found_from_any_folder(tmp_path: Path) -> None:
    assert read_records("calls.db") == f"sqlite:///{tmp_path}/calls.db"
    assert read_records("sqlite:///calls.db") == f"sqlite:///{tmp_path}/calls.db"


@pytest.mark.parametrize("value", ["/var/why?.db", "sqlite:///calls.db?mode=ro"])
def test_a_file_of_records_whose_path_would_be_cut_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"must have no \? in the path of a SQLite file"):
        read_records(value)


@pytest.mark.parametrize("value", ["mysql://db/calls", "sqlite://", "postgresql://"])
def test_another_database_of_records_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be on, the path of a SQLite file"):
        read_records(value)


@pytest.mark.parametrize(
    "rest",
    [
        "me:secret@db:port/calls",
        "me:se@cret@db/calls",
        "me:secret@db1:5432,db2:5432/calls",
        "db:123456/calls",
        "db:5432calls",
        "db:/calls",
    ],
)
def test_a_url_of_records_that_cannot_be_read_is_refused(rest: str) -> None:
    with pytest.raises(ValueError, match="the port is a number") as caught:
        read_records(f"postgresql://{rest}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "rest",
    [
        "me@example.com:se/cr?et@db:5433/calls?sslmode=require",
        "me:%40%3A@[::1]:5433/calls",
        "/calls?host=db1:5432&host=db2:5432",
        "db?connect_timeout=3",
    ],
)
def test_a_url_of_records_is_split_as_sqlalchemy_does(rest: str) -> None:
    read = read_records(f"postgresql://{rest}")
    assert read is not None
    url = make_url(read)
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host or ""
    assert database_key(read).startswith(host)
    assert (url.database or "") in database_key(read)
    assert "@" not in database_key(read)


def test_a_database_is_told_from_others_by_its_place_alone() -> None:
    def keys(*urls: str) -> int:
        return len({database_key(str(read_records(url))) for url in urls})

    one = "postgresql://db/calls"
    assert keys(one, f"{one}?sslmode=require", "postgresql://me:x@db/calls?connect_timeout=3") == 1
    assert keys(one, "postgresql://db:5433/calls", "postgresql://db/voice") == 3
    assert keys(one, f"{one}?options=-csearch_path%3Dvoice", f"{one}?service=other") == 3
    assert keys("postgresql:///calls?host=/run/a", "postgresql:///calls?host=/run/b") == 2
    assert keys("/srv/a@b/calls.db", "/srv/c@b/calls.db") == 2


def test_what_is_kept_has_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert state_folder() == Path("/home/me/state/mediaserver")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert state_folder() == Path("/home/me/.local/state/mediaserver")
    assert read_records(True) == "sqlite:////home/me/.local/state/mediaserver/calls.db"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/mediaserver:/other")
    assert state_folder() == Path("/var/lib/mediaserver")


def test_the_url_of_a_webhook_may_have_a_query() -> None:
    assert read_webhook_url("https://h/calls?a=1") == "https://h/calls?a=1"
    assert read_webhook_url("off") is None
    for bad in ("h/calls", "ftp://h", "https://h/a b", "https://me:x@h", "https://h#x"):
        with pytest.raises(ValueError, match="must"):
            read_webhook_url(bad)
