import os
from pathlib import Path

import pytest

from mediaserver.captures.capture_folder import CaptureFolder, captured_call, name_of_call


@pytest.fixture
def folder(tmp_path: Path) -> CaptureFolder:
    folder = CaptureFolder(tmp_path / "calls")
    folder.prepare()
    return folder


def test_only_the_owner_can_read_it(folder: CaptureFolder) -> None:
    path = folder.create("call")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_name_tells_when_the_call_began_and_its_id(folder: CaptureFolder) -> None:
    name = folder.name("2026-11-30T09:15:00.123456+00:00", "call/../1")
    assert folder.create(name).name == "20261130T091500-call_.._1.wire.zst"


def test_a_name_that_is_taken_gets_a_number(folder: CaptureFolder) -> None:
    names = [folder.create("call").name for _ in range(2)]
    assert names == ["call.wire.zst", "call-2.wire.zst"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        CaptureFolder(tmp_path / "file" / "calls").prepare()


def test_a_number_is_asked_for_once(folder: CaptureFolder) -> None:
    folder.ask_for("+1 (415) 555-0100")
    folder.look()
    assert not folder.claim(["+14155550111", None])
    assert folder.claim(["+14155550111", "14155550100"])
    assert not folder.claim(["14155550100"])


def test_a_sip_address_can_be_asked_for(folder: CaptureFolder) -> None:
    folder.ask_for("sip:ann@phone.plivo.com")
    folder.look()
    assert folder.claim(["sip:ann@phone.plivo.com"])


def test_something_else_cannot_be_asked_for(folder: CaptureFolder) -> None:
    with pytest.raises(ValueError, match=r"x' is neither a phone number nor a SIP address"):
        folder.ask_for("../x")


def test_a_number_is_asked_for_where_there_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CaptureFolder(tmp_path / "none").ask_for("+14155550100")
    folder = CaptureFolder(tmp_path / "none")
    folder.look()
    assert not folder.claim(["+14155550100"])


def test_of_two_processes_one_is_told_that_a_number_was_asked_for(folder: CaptureFolder) -> None:
    other = CaptureFolder(folder.path)
    folder.ask_for("+14155550100")
    for each in (folder, other):
        each.look()
    assert [each.claim(["+14155550100"]) for each in (folder, other)] == [True, False]


def test_captures_are_listed_and_found_by_their_call(folder: CaptureFolder) -> None:
    one, other = "78737f83-4660-490d-98e1-025dfe4b5c8f", "78737f83-4660-490d-98e1-025dfe4b5c90"
    paths = [
        folder.create(folder.name(f"2026-11-30T09:{minute}:00.000000+00:00", call))
        for minute, call in (("15", one), ("15", one), ("16", other))
    ]
    (folder.path / "notes.txt").touch()
    assert folder.captures() == [paths[2], paths[0], paths[1]]
    assert folder.captures(one) == [paths[0], paths[1]]
    assert folder.captures(other) == [paths[2]]
    assert folder.captures("call-1") == []
    assert [captured_call(path) for path in paths] == [one, one, other]


def test_a_call_is_found_by_an_id_that_no_file_can_have(folder: CaptureFolder) -> None:
    path = folder.create(folder.name("2026-11-30T09:15:00+00:00", "../call/1"))
    assert folder.captures("../call/1") == [path]
    assert captured_call(path) == name_of_call("../call/1")


def test_the_oldest_captures_make_room(folder: CaptureFolder) -> None:
    paths = [folder.create(name) for name in "abc"]
    for age, path in enumerate(reversed(paths)):
        path.write_bytes(bytes(100))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    (folder.path / "notes.txt").write_bytes(bytes(1_000))
    assert folder.make_room(200, keep={paths[0]}) == (200, 1)
    assert [path.exists() for path in paths] == [True, False, True]
    assert (folder.path / "notes.txt").exists()
