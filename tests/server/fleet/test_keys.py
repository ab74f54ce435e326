from mediaserver.server.fleet.keys import FleetKeys


def test_all_names_of_a_fleet_are_in_one_slot() -> None:
    keys = FleetKeys("voice")
    names = [
        keys.members,
        keys.about,
        keys.calls,
        keys.held("a/1"),
        keys.route("/stream"),
        keys.lost("c-1"),
        keys.nonce("n"),
        keys.mailbox("a/1"),
    ]
    assert len(set(names)) == len(names)
    assert all(name.startswith("{voice}:") for name in names)
