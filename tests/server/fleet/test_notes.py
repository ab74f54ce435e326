from mediaserver.server.fleet.notes import Note


def test_a_note_is_a_number_a_state_and_a_route() -> None:
    assert str(Note(3, live=True, route="/sales +14155550100")) == "3 live /sales +14155550100"
    assert str(Note(0, live=False, route="")) == "0 kept "
