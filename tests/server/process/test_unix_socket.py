import os
import socket
import stat
from pathlib import Path

import pytest

from mediaserver.server.process.unix_socket import UnixSocket


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_servers_user_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "new" / "admin.sock"
    umask = os.umask(0o022)
    try:
        with UnixSocket(path):
            assert mode(path) == 0o600
            assert mode(path.parent) == 0o700
            assert os.umask(0o022) == 0o022
        assert not path.exists()
        with UnixSocket(path, shared=True):
            assert mode(path) == 0o666
    finally:
        os.umask(umask)


def test_what_a_killed_server_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
        killed.listen()
    assert path.exists()
    with UnixSocket(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_of_another_server_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with UnixSocket(path):
        with pytest.raises(OSError, match="another server has this socket"):
            UnixSocket(path)
        assert path.exists()


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match="not a socket"):
        UnixSocket(path)
    assert path.read_text() == "precious"


def test_a_socket_that_has_taken_its_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    first = UnixSocket(path)
    path.rename(tmp_path / "moved")
    with UnixSocket(path):
        first.close()
        assert path.exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        UnixSocket(tmp_path / "file" / "admin.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_a_folder_behind_a_link_of_another_user_is_refused(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir(mode=0o700)
    link.symlink_to(folder)
    UnixSocket(link / "admin.sock").close()
    os.chown(link, 65_534, 65_534, follow_symlinks=False)
    with pytest.raises(PermissionError, match="other users can replace"):
        UnixSocket(link / "admin.sock")


@pytest.mark.parametrize(("mode", "safe"), [(0o755, True), (0o1777, True), (0o777, False)])
def test_a_folder_in_which_others_can_replace_the_socket_is_refused(
    tmp_path: Path, mode: int, safe: bool
) -> None:
    tmp_path.chmod(mode)
    if safe:
        UnixSocket(tmp_path / "admin.sock").close()
        return
    with pytest.raises(PermissionError, match="other users can replace"):
        UnixSocket(tmp_path / "admin.sock")
