import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest

from audiocodecs import L16_16K
from mediaserver.settings import (
    Settings,
    SettingsError,
    flag_of,
    load_settings,
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
