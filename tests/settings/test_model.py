import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from audiocodecs import MULAW_8K
from mediaserver.settings import (
    Settings,
    SettingsError,
    flag_of,
    load_settings,
    variable_of,
)


def problems(flags: Any = None, config: Any = None) -> Any:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, config)
    assert str(caught.value).splitlines() == caught.value.problems
    return caught.value.problems


def test_the_defaults_are_settings() -> None:
    loaded = load_settings()
    assert loaded.max_calls == 200
    assert loaded.default_format == MULAW_8K
    assert loaded.lead_seconds == 0.6
    assert not loaded.tls


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert "must be above ping_interval (20 s)" in problems({"dead_peer_timeout": "20"})[0]
    assert "TLS needs both" in problems({"ssl_keyfile": "key.pem"})[0]


@pytest.mark.parametrize("name", ["node 1", "a/b", "-1", "n" * 33, "é"])
def test_a_name_of_a_server_that_no_url_or_proxy_takes_is_refused(name: str) -> None:
    assert "must be a name such as node1" in problems({"node": name})[0]


def test_attributes_of_a_stream_that_plivo_refuses_are_refused() -> None:
    assert "or turn bidirectional off" in problems({"audio_track": "both"})[0]
    assert "set on_end to the URL" in problems({"keep_call_alive": "false"})[0]
    assert "must be 60 to 100" in problems({"noise_cancellation_level": "20"})[0]
    assert "must be key1=value1" in problems({"extra_headers": "nope"})[0]
    url = {"status_callbacks": "yes", "status_callback_url": "https://example.com/events"}
    assert "Plivo reports to one URL" in problems(url)[0]


def test_attributes_of_a_stream_may_be_text() -> None:
    settings = load_settings(
        {"audio_track": "BOTH", "bidirectional": "false", "stream_timeout": "60"}
    )
    options = settings.stream_options
    assert (options.audio_track, options.bidirectional, options.stream_timeout) == (
        "both",
        False,
        60,
    )


def test_words_may_be_capital() -> None:
    assert load_settings({"log_level": "DEBUG"}).log_level == "debug"


def test_the_secret_is_random_unless_it_is_set(monkeypatch: Any) -> None:
    first, second = load_settings(), load_settings()
    assert first.secret_is_random
    assert first.secret != second.secret
    monkeypatch.setenv("MEDIASERVER_SECRET", "sixteen letters and more")
    loaded = load_settings()
    assert not loaded.secret_is_random
    assert loaded.secret.get_secret_value() == "sixteen letters and more"


def test_secrets_are_never_shown() -> None:
    loaded = load_settings(
        {"secret": "sixteen letters and more", "ssl_keyfile_password": "open sesame"}
    )
    assert "sixteen" not in repr(loaded)
    assert "sesame" not in str(loaded)
    (problem,) = problems({"secret": "too short"})
    assert "too short" not in problem
    assert "at least 16 characters" in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth_token", ""),
        ("auth_token", "  "),
        ("more_auth_tokens", ""),
        ("more_auth_tokens", " , ,"),
        ("more_auth_tokens", ["a", " "]),
    ],
)
@pytest.mark.parametrize("source", ["flag", "file", "environment"])
def test_a_token_that_is_given_must_not_be_blank(
    monkeypatch: Any, name: Any, value: Any, source: Any
) -> None:
    where = {"flag": flag_of(name), "environment": variable_of(name)}.get(source)
    flags = None
    if source == "flag":
        flags = {name: value}
    elif source == "file":
        where = f"mediaserver.toml: {name}"
        Path("mediaserver.toml").write_text(f"{name} = {json.dumps(value)}\n")
    else:
        monkeypatch.setenv(variable_of(name), value if isinstance(value, str) else " , ")
    (problem,) = problems(flags)
    assert problem.startswith(f"{where}: must ")
    assert "leave it out" in problem


def test_an_empty_variable_of_a_token_does_not_uncover_the_one_in_the_file(
    monkeypatch: Any,
) -> None:
    Path("mediaserver.toml").write_text('auth_token = "t"\n')
    monkeypatch.setenv("mediaserver_auth_token", "")
    assert problems()[0].startswith("MEDIASERVER_AUTH_TOKEN: must not be blank")


def test_an_empty_variable_is_seen_without_load_settings_too(monkeypatch: Any) -> None:
    monkeypatch.setenv("MEDIASERVER_AUTH_TOKEN", "")
    with pytest.raises(ValueError, match="must not be blank"):
        Settings()


def test_other_empty_variables_set_nothing(monkeypatch: Any) -> None:
    monkeypatch.setenv("MEDIASERVER_MAX_CALLS", "")
    monkeypatch.setenv("MEDIASERVER_AUTH_ID", "")
    assert load_settings().max_calls == 200


@pytest.mark.parametrize(("name", "value"), [("auth_id", "MA1"), ("check_signatures", "true")])
def test_signatures_that_are_to_be_checked_need_a_token(name: Any, value: Any) -> None:
    (problem,) = problems({name: value})
    assert problem.startswith(f"auth_token is not set, but {name} is: ")
    assert load_settings({name: value, "auth_token": "t"}).auth_tokens == ("t",)
    assert load_settings({name: value, "more_auth_tokens": "t"}).auth_tokens == ("t",)


def test_an_account_without_a_token_is_taken_where_nothing_is_checked() -> None:
    assert load_settings({"auth_id": "MA1", "check_signatures": "no"}).auth_id == "MA1"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


@given(st.dictionaries(st.sampled_from(list(Settings.model_fields)), st.text(), max_size=4))
def test_any_text_is_taken_or_refused_clearly(flags: Any) -> None:
    with contextlib.suppress(SettingsError):
        load_settings(flags)


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ({}, True),
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "ssl_certfile": "c.pem"}, False),
        ({"host": "127.0.0.1", "ssl_certfile": "c.pem"}, True),
        ({"host": "0.0.0.0", "ssl_certfile": "c.pem", "metrics_token": "t"}, True),
        ({"host": "0.0.0.0", "ssl_certfile": "c.pem", "metrics": "shared"}, True),
        ({"metrics": "off", "metrics_token": "t"}, False),
        ({"metrics": "9100"}, False),
    ],
)
def test_metrics_are_public_only_where_that_was_asked_for(given: Any, shared: bool) -> None:
    assert Settings(**given).metrics_shared is shared


def test_metrics_are_where_operators_are() -> None:
    assert not Settings(admin="127.0.0.1:8001").metrics_shared
    assert not Settings(admin="127.0.0.1:8001", metrics_token=SecretStr("t")).metrics_shared
    assert Settings(admin="127.0.0.1:8001", metrics="shared").metrics_shared


def test_operators_have_a_socket_or_an_address() -> None:
    assert Settings().admin_address is None
    assert Settings(admin="./a.sock").admin_address == Path("a.sock")
    assert Settings(admin="8001").admin_address == ("127.0.0.1", 8001)


def test_with_workers_operators_have_a_socket_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/mediaserver")
    settings = Settings(workers=2, port=8443)
    assert settings.admin_address == Path("/run/mediaserver/admin-8443.sock")
    assert not settings.metrics_shared
    joined = Settings(redis=SecretStr("redis://127.0.0.1/0"), secret=SecretStr("s" * 16), port=8443)
    assert joined.admin_address == settings.admin_address
    assert Settings(workers=2, port=0).admin_address is None
    assert Settings(workers=2, admin="off").admin_address is None
    assert not Settings(workers=2, admin="off").metrics_shared


def test_one_worker_does_not_answer_for_the_metrics_of_all() -> None:
    assert "Set metrics to HOST:PORT" in problems({"workers": "2", "metrics": "shared"})[0]


def test_whoever_reaches_the_operators_address_from_elsewhere_needs_a_token() -> None:
    token = "sixteen-characters"
    for address in ("0.0.0.0:8001", "10.0.0.1:8001"):
        assert "set MEDIASERVER_ADMIN_TOKEN" in problems({"admin": address})[0]
        assert load_settings({"admin": address, "admin_token": token}).admin_token
    assert "at least 16" in problems({"admin": "8001", "admin_token": "short"})[0]
    assert "but admin is not" in problems({"admin_token": token})[0]


def test_operators_and_metrics_are_not_given_one_address() -> None:
    both = {"admin": "127.0.0.1:8001", "metrics": "8001"}
    assert "leave metrics out" in problems(both)[0]
    assert load_settings({"admin": "127.0.0.1:0", "metrics": "0"})


def test_metrics_may_have_an_address_of_their_own() -> None:
    assert Settings(metrics="0.0.0.0:9100").metrics_address == ("0.0.0.0", 9100)
    assert Settings(metrics="off").metrics_address is None


@pytest.mark.parametrize("token", ["", "two words", "ümlaut"])
def test_a_token_for_metrics_can_be_sent(token: str) -> None:
    with pytest.raises(ValidationError, match="metrics_token"):
        Settings(metrics_token=SecretStr(token))


def test_redis_is_named_by_a_url_and_needs_a_secret_that_all_know() -> None:
    assert "redis://HOST:PORT" in problems({"redis": "localhost:6379", "secret": "s" * 16})[0]
    assert "all nodes need the same" in problems({"redis": "redis://localhost"})[0]
    settings = load_settings({"redis": "redis://:xyzzy@localhost", "secret": "s" * 16})
    assert "xyzzy" not in repr(settings)


def test_a_package_that_redis_needs_and_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mediaserver.settings.model.find_spec", lambda name: None)
    assert ".[redis]" in problems({"redis": "redis://localhost", "secret": "s" * 16})[0]


def test_an_address_for_other_nodes_needs_redis() -> None:
    assert "but redis is not" in problems({"node_address": "10.0.0.5:8000"})[0]
    assert "letters, digits" in problems({"redis_prefix": "{mine}"})[0]


def test_limits_of_routes_are_named_by_path_or_number() -> None:
    settings = load_settings({"max_calls_route": "/sales=20, +14155550100=5"})
    assert settings.route_limits == {"/sales": 20, "+14155550100": 5}
    for wrong in ("sales=2", "/sales", "/sales=0", "/sales=many"):
        assert "/sales=20" in problems({"max_calls_route": wrong})[0]


def test_calls_that_do_not_wait_for_their_stream_cannot_be_resumed() -> None:
    given = {"resume_calls": "1", "keep_call_alive": "false", "on_end": "https://example.com/x"}
    (problem,) = problems(given)
    assert "resume_calls is set, but keep_call_alive is off" in problem


def test_calls_are_recorded_where_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().records_url is None
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/mediaserver")
    settings = load_settings({"records": "on"})
    assert settings.records_url == "sqlite:////var/lib/mediaserver/calls.db"
    assert settings.records_folder.parent == Path("/var/lib/mediaserver")
    settings = load_settings({"records": "on", "records_journal": "/var/spool/calls"})
    assert settings.records_folder == Path("/var/spool/calls")


def test_each_database_has_a_journal_of_its_own_whatever_the_password() -> None:
    folders = [
        load_settings({"records": f"postgresql://me:{password}@{host}/calls"}).records_folder
        for password, host in (("old", "db1"), ("new", "db1"), ("old", "db2"))
    ]
    assert folders[0] == folders[1] != folders[2]


def test_a_journal_is_found_again_after_a_change_of_the_connection() -> None:
    url = "postgresql://me:old@db/calls"
    changed = f"{url}?sslmode=require"
    one, other = (load_settings({"records": each}).records_folder for each in (url, changed))
    assert one == other


def test_records_are_kept_for_a_number_of_days_that_a_date_can_have() -> None:
    assert load_settings({"records_days": "36500"}).records_days == 36_500
    assert load_settings({"records_days": "off"}).records_days is None
    for wrong in ("36501", "1e9", "inf", "nan", "0"):
        (problem,) = problems({"records_days": wrong})
        assert "records_days" in problem.replace("-", "_")


def test_a_package_that_records_need_and_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "mediaserver.settings.model.find_spec", lambda name: None if name == "psycopg" else 1
    )
    assert "needs the package psycopg" in problems({"records": "postgresql://db/calls"})[0]
    assert load_settings({"records": "on"}).records is not None


def test_prices_need_records() -> None:
    assert "but records is not" in problems({"records_prices": "prices.toml"})[0]
    settings = load_settings({"records": "on", "records_prices": "prices.toml"})
    assert settings.records_prices == Path("prices.toml")


def test_a_webhook_needs_records_and_a_secret() -> None:
    url = "https://crm.example.com/calls"
    assert "but records is not" in problems({"records_webhook": url})[0]
    flags = {"records": "on", "records_webhook": url}
    assert "MEDIASERVER_RECORDS_WEBHOOK_SECRET is not" in problems(flags)[0]
    for secret, text in (("short", "at least 16"), ("whsec_" + "?" * 16, "base64")):
        assert text in problems({**flags, "records_webhook_secret": secret})[0]
    assert load_settings({**flags, "records_webhook_secret": "s" * 16}).records_webhook == url


def test_a_hash_of_numbers_needs_a_key() -> None:
    flags = {"records": "on", "records_numbers": "hash"}
    assert "MEDIASERVER_SECRET keys the hash" in problems(flags)[0]
    assert load_settings({**flags, "secret": "s" * 16}).records_numbers == "hash"
