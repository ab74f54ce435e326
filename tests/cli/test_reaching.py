import ssl
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.server import ServerConnection

from tests.cli.processes import AUTH_TOKEN, Run
from tests.cli.stream_listener import answered


@pytest.mark.parametrize("command", ["call", "load"])
@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ws://x/", ["--threshold", "reply.p99<1"], "did you mean replies.p99"),
        ("http://x/", [], "is not a WebSocket address"),
        ("ws://x/", ["--http-header", "Host"], "are written NAME=VALUE"),
        ("ws://x/", ["--http-header", "upgrade=h2c"], "own handshake"),
        ("ws://x/", ["--http-header", "A=\n"], "printable ASCII"),
        ("ws://x/", ["--insecure"], "are for wss:// addresses"),
        ("wss://x/", ["--cafile", "nowhere.pem"], "nowhere.pem"),
        ("wss://x/", ["--cafile", "empty.pem"], "no certificates"),
        ("wss://x/", ["--insecure", "--cafile", "empty.pem"], "exclude each other"),
    ],
)
def test_what_cannot_be_is_refused_before_a_call(
    run: Run, command: str, url: str, options: list[str], message: str
) -> None:
    Path("empty.pem").touch()
    result = run(command, url, *options)
    assert result.exit_code == 2, result.stderr
    assert message in result.stderr


@pytest.mark.parametrize("command", ["call", "load"])
def test_http_headers_are_sent(run: Run, command: str) -> None:
    headers: list[str] = []

    async def noting(connection: ServerConnection) -> None:
        assert connection.request is not None
        headers.append(connection.request.headers["Authorization"])
        await connection.close()

    with answered(noting) as url:
        run(command, url, "--http-header", "Authorization=Basic dTpw=")
    assert set(headers) == {"Basic dTpw="}


@pytest.mark.parametrize("command", ["call", "load"])
def test_a_certificate_of_a_test_server_can_be_trusted(run: Run, command: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path("ca.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)

    async def hanging_up(connection: ServerConnection) -> None:
        await connection.wait_closed()

    with answered(hanging_up, ssl=server) as url:
        results = [
            run(command, url, "--seconds", "0.2", *options)
            for options in ([], ["--cafile", "ca.pem"], ["--insecure"])
        ]
    assert [result.exit_code for result in results] == [1, 0, 0]
    said = "".join((results[0].stderr + results[0].stdout).split())  # a table breaks its lines
    # Where the line breaks, its count stands between, and the port has 4 or 5 digits.
    assert "certificateisnottrusted" in said.replace("10calls", "")


@pytest.mark.parametrize("command", ["call", "load"])
def test_a_signed_call_is_taken_and_an_unsigned_one_is_not(
    run: Run, strict_url: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIASERVER_AUTH_TOKEN", AUTH_TOKEN)
    signed = run(command, strict_url, "--seconds", "0.2")
    assert signed.exit_code == 0, signed.stderr + signed.stdout
    monkeypatch.delenv("MEDIASERVER_AUTH_TOKEN")
    unsigned = run(command, strict_url, "--seconds", "0.2")
    assert unsigned.exit_code == 1
    assert "403" in unsigned.stderr + unsigned.stdout
