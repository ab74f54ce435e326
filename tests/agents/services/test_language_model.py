from mediaserver.agents.services.language_model import Tokens


def test_costs_are_added() -> None:
    assert Tokens(10, 2, 5) + Tokens(20, 3) == Tokens(30, 5, 5)
