from mediaserver.agents.conversing import abbreviations


def test_abbreviations_are_written_without_their_last_stop() -> None:
    for table in (abbreviations.PREFIXES, abbreviations.SHORTENED, abbreviations.STREETS):
        assert not [word for word in table if word.endswith(".")]


def test_words_that_are_compared_without_case_are_in_small_letters() -> None:
    for table in (abbreviations.STARTERS, abbreviations.GO_ON, abbreviations.LABELLED):
        assert not [word for word in table if word != word.casefold()]
