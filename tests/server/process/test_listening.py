import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mediaserver.server.process.listening import (
    BindError,
    address_of,
    authority,
    bind,
    bind_admin,
    bind_metrics,
    web_address_of,
)
from mediaserver.settings import Settings


def test_an_address_for_metrics_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            BindError, match=f"--metrics: .*{port}.*this port; choose another with --metrics"
        ):
            bind_metrics(Settings(metrics=f"127.0.0.1:{port}"))


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"127.0.0.1:{port}: another process.*--port"):
            bind(Settings(port=port))


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(BindError, match=r"cannot listen on 'nowhere\.invalid'"):
        bind(Settings(host="nowhere.invalid"))


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.1:8000: this machine has no such address"):
        bind(Settings(host="192.0.2.1"))


def test_all_addresses_of_a_host_get_the_same_port() -> None:
    sockets = bind(Settings(host="localhost", port=0))
    assert len({address_of(sock)[1] for sock in sockets}) == 1
    for sock in sockets:
        sock.close()


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert authority("::1", 80) == "[::1]:80"
    assert authority("127.0.0.1", 80) == "127.0.0.1:80"


def test_operators_have_a_unix_socket_or_an_address_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    (sock,) = bind_admin(Settings(admin=str(path)))
    with sock:
        assert web_address_of(sock) == str(path)
    (sock,) = bind_admin(Settings(admin="127.0.0.1:0"))
    with sock:
        assert web_address_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
    assert bind_admin(Settings()) == []


def test_a_socket_that_nobody_asked_for_stops_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    settings = Settings(workers=2, port=8000)
    (sock,) = bind_admin(settings)
    with sock, capture_logs() as logged:
        assert bind_admin(settings) == []
    assert logged[0]["event"] == "no admin listener"
    assert logged[0]["reason"] == "another server has this socket"


def test_a_place_for_operators_that_is_taken_is_named(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    path.write_text("")
    with pytest.raises(BindError, match=r"--admin: .*admin.sock: .*not a socket; .*--admin off"):
        bind_admin(Settings(admin=str(path)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=r"--admin: .*this port; choose another with --admin"):
            bind_admin(Settings(admin=f"127.0.0.1:{port}"))
