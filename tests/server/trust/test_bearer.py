import pytest

from mediaserver.server.trust.bearer import is_bearer


@pytest.mark.parametrize(
    ("authorization", "right"),
    [
        ("Bearer one", True),
        ("Bearer two", True),
        ("Bearer three", False),
        ("bearer one", False),
        ("Bearer one ", False),
        ("one", False),
        ("", False),
        ("Bearer \u20ac", False),
    ],
)
def test_one_of_the_tokens_is_needed(authorization: str, right: bool) -> None:
    assert is_bearer(authorization, ["one", "two"]) is right
    assert not is_bearer(authorization, [])
