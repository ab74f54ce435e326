import pytest

from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.sarvam.saaras_schema import read_saaras_query


def test_parameters_are_read() -> None:
    query = "language_code=hi-IN&model=saaras%3Av4&keyterms=%5B%22New+Delhi%22%5D&threshold=0.5"
    assert read_saaras_query(query) == {
        "language_code": "hi-IN",
        "model": "saaras:v4",
        "keyterms": '["New Delhi"]',
        "threshold": "0.5",
    }


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "'language_code' is missing"),
        ("language-code=hi-IN", "unknown parameter 'language-code'"),
        ("language_code=od-IN", "'language_code' cannot be 'od-IN'"),
        ("language_code=hi-IN&language_code=en-IN", "given 2 times"),
        ("language_code=hi-IN&model=saarika:v2.5", "'model' cannot be"),
        ("language_code=hi-IN&sample_rate=24000", "'sample_rate' cannot be"),
        ("language_code=hi-IN&threshold=1.5", "'threshold' cannot be"),
        ("language_code=hi-IN&silence_duration_ms=-1", "'silence_duration_ms' cannot be"),
        ("language_code=hi-IN&prompt=+", "'prompt' cannot be"),
        ("language_code=hi-IN&model=saaras:v4&keyterms=Plivo", "'keyterms' cannot be"),
        ("language_code=hi-IN&keyterms=%5B%22Plivo%22%5D", "keyterms are for saaras:v4"),
    ],
)
def test_what_is_not_published_is_refused(query: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        read_saaras_query(query)
