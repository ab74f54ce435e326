import re

import pytest

from mediaserver.agents.conversing.scripts import CLUSTER, STOPS, whole_letters


@pytest.mark.parametrize(
    ("text", "clusters"),
    [
        ("ค่ะ", ["ค่ะ"]),
        ("เปิด", ["เปิ", "ด"]),
        ("ສະບາຍດີ", ["ສະ", "ບາ", "ຍ", "ດີ"]),
        ("ကျေးဇူးတင်ပါတယ်", ["ကျေး", "ဇူး", "တင်", "ပါ", "တယ်"]),
        ("ខ្ញុំ", ["ខ្ញុំ"]),
    ],
)
def test_a_letter_has_its_vowels(text: str, clusters: list[str]) -> None:
    assert re.findall(CLUSTER, text) == clusters


def test_no_place_before_a_vowel_sign_is_whole() -> None:
    assert [whole_letters("กที่ด", place) for place in range(1, 6)] == [1, 1, 1, 4, 5]
    assert whole_letters("\u0301\u0301", 1) == 1


def test_each_stop_is_one_of_its_own() -> None:
    assert len(set(STOPS)) == len(STOPS)
    assert not any(stop.isalnum() or stop.isspace() for stop in STOPS)
