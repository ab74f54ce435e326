import msgspec

from mediaserver.server.fleet.members import AboutMember, about_member, known_members


ABOUT = AboutMember("node1", "node1/3f9a", "ready", 1, 200)


def test_what_another_version_says_is_passed_over() -> None:
    said = msgspec.msgpack.encode(ABOUT)
    assert about_member(said) == ABOUT
    assert about_member(b"") is None
    assert known_members({"a": said, "b": msgspec.msgpack.encode({"name": "b"})}) == {"a": ABOUT}
