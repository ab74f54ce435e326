from urllib.parse import parse_qsl, urlencode

from hypothesis import example, given
from hypothesis import strategies as st

from mediaserver.server.form_fields import form_fields


@given(text=st.text(st.sampled_from("ab&=%+2B0é ;"), max_size=30))
@example("")
@example("a=1&&b&=c&d=%C3%A4+%zz%ff")
def test_the_fields_are_those_of_the_standard_library(text: str) -> None:
    assert form_fields(text) == parse_qsl(text, keep_blank_values=True)


@given(fields=st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5))
def test_what_was_encoded_comes_back(fields: list[tuple[str, str]]) -> None:
    assert form_fields(urlencode(fields, errors="surrogatepass")) == [
        tuple(each.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for each in field)
        for field in fields
    ]
