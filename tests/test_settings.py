import contextlib
import ipaddress
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodecs import L16_16K, MULAW_8K
from mediaserver.settings import (
    Settings,
    SettingsError,
    default_of,
    flag_of,
    load_settings,
    reference,
    unknown_variables,
    variable_of,
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(variable_of(name), raising=False)


def problems(flags=None, config=None):
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, config)
    assert str(caught.value).splitlines() == caught.value.problems
    return caught.value.problems


def test_the_defaults_are_settings():
    loaded = load_settings()
    assert loaded.max_calls == 200
    assert loaded.default_format == MULAW_8K
    assert loaded.lead_seconds == 0.6
    assert not loaded.tls


def test_the_default_file_is_read(tmp_path):
    Path("mediaserver.toml").write_text("max_calls = 3\n")
    assert load_settings().max_calls == 3


def test_the_environment_wins_over_the_file(monkeypatch):
    Path("mediaserver.toml").write_text("max_calls = 3\nport = 1\n")
    monkeypatch.setenv("MEDIASERVER_MAX_CALLS", "4")
    loaded = load_settings()
    assert (loaded.max_calls, loaded.port) == (4, 1)


def test_a_flag_wins_over_the_environment(monkeypatch):
    Path("mediaserver.toml").write_text("max_calls = 3\n")
    monkeypatch.setenv("MEDIASERVER_MAX_CALLS", "4")
    assert load_settings({"max_calls": "5", "port": None}).max_calls == 5


def test_another_file_can_be_named(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text('handler = ["a:B", "/c=d:E"]\ntrusted_proxies = ["10.0.0.0/8"]\n')
    loaded = load_settings(config=path)
    assert loaded.handler == ("a:B", "/c=d:E")
    assert loaded.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"),)


def test_a_named_file_must_be_there():
    assert problems(config=Path("nowhere.toml")) == ["nowhere.toml: there is no such file"]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert problems(config=tmp_path)[0].startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("content", [b"max_calls = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(content):
    Path("mediaserver.toml").write_bytes(content)
    (problem,) = problems()
    assert problem.startswith("mediaserver.toml: not TOML: ")


def test_an_unknown_name_in_the_file_is_named_with_a_near_one():
    Path("mediaserver.toml").write_text("max_cals = 3\n")
    assert problems() == ["mediaserver.toml: max_cals: unknown setting; did you mean max_calls?"]


def test_each_problem_says_where_it_comes_from(monkeypatch):
    Path("mediaserver.toml").write_text("max_calls = 0\n")
    monkeypatch.setenv("MEDIASERVER_PORT", "70000")
    found = problems({"lead_seconds": "soon"})
    assert len(found) == 3
    assert found[0].startswith("MEDIASERVER_PORT: '70000' ")
    assert found[1].startswith("mediaserver.toml: max_calls: '0' ")
    assert found[2].startswith("--lead-seconds: 'soon' ")


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
def test_a_bad_value_is_refused_with_what_is_allowed(name, value, text):
    (problem,) = problems({name: value})
    assert problem.startswith(f"{flag_of(name)}: {value!r} ")
    assert re.search(text, problem)


def test_a_trusted_proxy_that_is_no_text_is_refused():
    Path("mediaserver.toml").write_text("trusted_proxies = 7\n")
    assert "CIDR ranges" in problems()[0]


def test_settings_that_contradict_each_other_are_refused():
    assert "must be above ping_interval (20 s)" in problems({"dead_peer_timeout": "20"})[0]
    assert "TLS needs both" in problems({"ssl_keyfile": "key.pem"})[0]


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        ("https://voice.example.com/", "https://voice.example.com"),
        ("wss://voice.example.com:8443", "https://voice.example.com:8443"),
        ("ws://h/media/", "http://h/media"),
        ("off", None),
    ],
)
def test_a_public_url_is_kept_in_one_form(given_url, kept):
    assert load_settings({"public_url": given_url}).public_url == kept


@pytest.mark.parametrize("word", ["off", "none", "OFF", ""])
def test_a_guard_can_be_switched_off(word):
    assert load_settings({"max_call_seconds": word}).max_call_seconds is None


def test_lists_are_separated_by_commas():
    loaded = load_settings({"handler": "a:B, /c=d:E,", "trusted_proxies": "10.0.0.0/8, ::1"})
    assert loaded.handler == ("a:B", "/c=d:E")
    assert loaded.trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1"),
    )


def test_words_may_be_capital():
    assert load_settings({"log_level": "DEBUG"}).log_level == "debug"


def test_a_format_is_parsed():
    loaded = load_settings({"default_format": "audio/x-l16;rate=16000"})
    assert loaded.default_format == L16_16K
    assert Settings(default_format=L16_16K).default_format == L16_16K


def test_the_secret_is_random_unless_it_is_set(monkeypatch):
    first, second = load_settings(), load_settings()
    assert first.secret_is_random
    assert first.secret != second.secret
    monkeypatch.setenv("MEDIASERVER_SECRET", "sixteen letters and more")
    loaded = load_settings()
    assert not loaded.secret_is_random
    assert loaded.secret.get_secret_value() == "sixteen letters and more"


def test_secrets_are_never_shown():
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
def test_a_token_that_is_given_must_not_be_blank(monkeypatch, name, value, source):
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


def test_an_empty_variable_of_a_token_does_not_uncover_the_one_in_the_file(monkeypatch):
    Path("mediaserver.toml").write_text('auth_token = "t"\n')
    monkeypatch.setenv("mediaserver_auth_token", "")
    assert problems()[0].startswith("MEDIASERVER_AUTH_TOKEN: must not be blank")


def test_an_empty_variable_is_seen_without_load_settings_too(monkeypatch):
    monkeypatch.setenv("MEDIASERVER_AUTH_TOKEN", "")
    with pytest.raises(ValueError, match="must not be blank"):
        Settings()


def test_other_empty_variables_set_nothing(monkeypatch):
    monkeypatch.setenv("MEDIASERVER_MAX_CALLS", "")
    monkeypatch.setenv("MEDIASERVER_AUTH_ID", "")
    assert load_settings().max_calls == 200


@pytest.mark.parametrize(("name", "value"), [("auth_id", "MA1"), ("check_signatures", "true")])
def test_signatures_that_are_to_be_checked_need_a_token(name, value):
    (problem,) = problems({name: value})
    assert problem.startswith(f"auth_token is not set, but {name} is: ")
    assert load_settings({name: value, "auth_token": "t"}).auth_tokens == ("t",)
    assert load_settings({name: value, "more_auth_tokens": "t"}).auth_tokens == ("t",)


def test_an_account_without_a_token_is_taken_where_nothing_is_checked():
    assert load_settings({"auth_id": "MA1", "check_signatures": "no"}).auth_id == "MA1"


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_a_variable_that_names_no_setting_is_pointed_out():
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


def test_the_real_environment_is_looked_at_by_default(monkeypatch):
    monkeypatch.setenv("MEDIASERVER_ZZZ", "1")
    assert unknown_variables() == ["MEDIASERVER_ZZZ is not a setting"]


def test_every_setting_has_a_description_and_a_default_that_can_be_given():
    for name, field in Settings.model_fields.items():
        assert field.description
        default = default_of(field)
        if default and default != "random":
            given = {"auth_token": "t", name: default}
            assert getattr(load_settings(given), name) == getattr(load_settings(), name)


def test_the_reference_is_up_to_date():
    page = Path(__file__).parents[1] / "docs" / "settings.md"
    assert page.read_text() == reference(), "run: python -m mediaserver.settings > docs/settings.md"


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(list(Settings.model_fields)), st.text(), max_size=4))
def test_any_text_is_taken_or_refused_clearly(flags):
    with contextlib.suppress(SettingsError):
        load_settings(flags)
