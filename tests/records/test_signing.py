import pytest

from mediaserver.records.signing import (
    WebhookSignatureError,
    check_signed,
    signed_headers,
    webhook_key,
)


KEY = webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
BODY = b'{"test": 2432232314}'


def test_a_signature_is_that_of_the_standard() -> None:
    # From the test of the reference implementation: github.com/standard-webhooks.
    headers = signed_headers(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", BODY, 1_614_265_330)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_signed_request_is_accepted_for_five_minutes() -> None:
    headers = signed_headers(KEY, "r1", BODY, 1_000_000.0)
    check_signed(KEY, headers, BODY, 1_000_299.0)
    with pytest.raises(WebhookSignatureError, match="five minutes"):
        check_signed(KEY, headers, BODY, 1_000_400.0)


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-signature", "body", "key"])
def test_a_request_that_was_changed_is_refused(changed: str) -> None:
    headers = signed_headers(KEY, "r1", BODY, 1_000_000.0)
    body, key = BODY, KEY
    if changed == "body":
        body = b"{}"
    elif changed == "key":
        key = b"another"
    else:
        headers[changed] = "v1,AAAA"
    with pytest.raises(WebhookSignatureError, match="does not fit"):
        check_signed(key, headers, body, 1_000_000.0)


def test_one_of_several_signatures_is_enough() -> None:
    headers = signed_headers(KEY, "r1", BODY, 1_000_000.0)
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    check_signed(KEY, headers, BODY, 1_000_000.0)


def test_a_request_without_a_signature_is_refused() -> None:
    with pytest.raises(WebhookSignatureError):
        check_signed(KEY, {}, BODY, 1_000_000.0)


def test_any_text_is_a_secret() -> None:
    assert webhook_key("correct horse battery") == b"correct horse battery"
    with pytest.raises(ValueError, match="base64"):
        webhook_key("whsec_?")
