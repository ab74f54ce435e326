import re

from mediaserver.cli.elsewhere import ELSEWHERE
from mediaserver.settings import Settings, flag_of


def test_every_option_that_is_pointed_to_exists_and_no_other_does() -> None:
    flags = {"--config", *map(flag_of, Settings.model_fields)}
    for option, text in ELSEWHERE.items():
        assert option not in flags
        assert set(re.findall(r"--[a-z-]+", text)) <= flags
