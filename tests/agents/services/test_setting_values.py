import pytest

from mediaserver.agents.services.setting_values import require_name, require_within


def test_numbers_and_names_may_be_left_out() -> None:
    require_within(0, 1, speed=None, volume=0.5)
    require_name(emotion=None, voice="anna")
    with pytest.raises(ValueError, match="voice must be a word without spaces, not 'an na'"):
        require_name(voice="an na")
    with pytest.raises(ValueError, match=r"speed must be a number from 0\.5 to 1, not nan"):
        require_within(0.5, 1, speed=float("nan"))
