from typing import Any

import pytest
from pydantic import SecretStr

from mediaserver.plivo.signatures import SignatureError, sign_headers, sign_upgrade
from mediaserver.server.trust.verification import SignatureCheck
from mediaserver.settings import Settings


URL = "wss://voice.example.com/stream?token=a.b"
CHECK = SignatureCheck(["first", "second"])


def check_of(**settings: Any) -> SignatureCheck:
    check = SignatureCheck.of(Settings(**settings))
    assert check is not None
    return check


def test_without_a_token_nothing_is_checked() -> None:
    assert SignatureCheck.of(Settings()) is None


@pytest.mark.parametrize("settings", [{"auth_token": "t"}, {"more_auth_tokens": "t"}])
def test_a_token_is_enough_to_check(settings: Any) -> None:
    check = check_of(**settings)
    check.verify_webhook(sign_headers("GET", URL, "t"), "GET", URL)
    with pytest.raises(SignatureError, match="not made with"):
        check.verify_webhook(sign_headers("GET", URL, "u"), "GET", URL)


def test_it_has_to_be_turned_off_by_name() -> None:
    assert SignatureCheck.of(Settings(auth_token=SecretStr("t"), check_signatures=False)) is None


def test_any_of_several_tokens_will_do() -> None:
    for token in ("first", "second"):
        CHECK.verify_webhook(sign_headers("POST", URL, token, {"a": "1"}), "POST", URL, {"a": "1"})


def test_version_2_is_taken_only_where_it_is_wanted() -> None:
    url = "https://voice.example.com/answer"
    headers = {
        name: v for name, v in sign_headers("GET", url, "t", v2=True).items() if "V3" not in name
    }
    check_of(auth_token="t", accept_old_signatures=True).verify_webhook(headers, "GET", url)
    with pytest.raises(SignatureError, match="no X-Plivo-Signature-V3"):
        check_of(auth_token="t").verify_webhook(headers, "GET", url)


def test_a_nonce_counts_as_used_only_when_it_is_used() -> None:
    check = SignatureCheck(["t"])
    headers = sign_upgrade(URL, "t")
    nonce = check.verify_upgrade(headers, URL)
    assert check.verify_upgrade(headers, URL) == nonce
    check.use(nonce)
    with pytest.raises(SignatureError, match="before") as raised:
        check.verify_upgrade(headers, URL)
    assert raised.value.reason == "replayed"
    check.verify_upgrade(sign_upgrade(URL, "t"), URL)


def test_a_nonce_of_a_stream_that_did_not_begin_is_good_again() -> None:
    check = SignatureCheck(["t"])
    headers = sign_upgrade(URL, "t")
    check.use(check.verify_upgrade(headers, URL))
    check.release(check.verify_upgrade(sign_upgrade(URL, "t"), URL))
    with pytest.raises(SignatureError, match="before"):
        check.verify_upgrade(headers, URL)
    check.release(headers["X-Plivo-Signature-V3-Nonce"])
    check.verify_upgrade(headers, URL)


def test_a_webhook_may_come_again() -> None:
    headers = sign_headers("GET", URL, "first")
    for _ in range(2):
        CHECK.verify_webhook(headers, "GET", URL)


def test_a_nonce_outlives_its_token_at_hundreds_of_streams_a_second() -> None:
    now = 0.0
    check = SignatureCheck(["t"], clock=lambda: now)
    headers = sign_upgrade(URL, "t")
    check.use(check.verify_upgrade(headers, URL))
    for number in range(150_000):
        now = number / 500
        check.use(str(number))
    with pytest.raises(SignatureError, match="before"):
        check.verify_upgrade(headers, URL)
