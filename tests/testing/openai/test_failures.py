from mediaserver.testing.openai import fails


def test_a_failure_may_say_when_to_try_again() -> None:
    reply = fails(429, "slow down", code="rate_limit_exceeded", retry_after=1.5)
    assert (reply.status, reply.headers) == (429, {"retry-after": "1.5"})
