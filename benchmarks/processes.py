"""Starts the server and the load, each in its own process on its own core, and stops both."""

import functools
import http.client
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from benchmarks.errors import BenchmarkError
from benchmarks.linux import pin_child
from benchmarks.load import EchoLoad, EchoResult, IdleLoad, IdleResult, Server
from benchmarks.root import ROOT
from benchmarks.servers import Program


_HOST = "127.0.0.1"
_READY_SECONDS = 60
_STOP_SECONDS = 5


@dataclass(frozen=True)
class Certificate:
    """PEM files with a server's certificate, its key and the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path

    @classmethod
    def issue(cls, directory: Path) -> "Certificate":
        """Issue a certificate for the loopback address.

        Raises:
            ImportError: trustme is not installed.

        """
        import trustme

        files = cls(directory / "server.pem", directory / "server.key", directory / "ca.pem")
        authority = trustme.CA()
        issued = authority.issue_cert(_HOST)
        issued.cert_chain_pems[0].write_to_path(files.certificate)
        issued.private_key_pem.write_to_path(files.key)
        authority.cert_pem.write_to_path(files.authority)
        return files


@contextmanager
def running(
    program: Program, core: int, certificate: Certificate | None, *, log_unread: bool = False
) -> Iterator[Server]:
    """Run a server on `core` for the duration of the block.

    Args:
        program: the server.
        core: the core.
        certificate: for TLS; None for none.
        log_unread: have it write its log into a pipe that nobody reads.

    """
    port = _free_port()
    command = [program.interpreter, *program.arguments, "--host", _HOST, "--port", str(port)]
    if certificate is not None:
        command += ["--ssl-certfile", str(certificate.certificate)]
        command += ["--ssl-keyfile", str(certificate.key)]
    with tempfile.TemporaryFile() as log, _unread_pipe() as pipe:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=pipe if log_unread else log,
            stderr=subprocess.STDOUT,
            preexec_fn=functools.partial(pin_child, core),
        )
        try:
            _wait_until_ready(process, port, program.health, certificate)
            scheme = "ws" if certificate is None else "wss"
            yield Server(
                url=f"{scheme}://{_HOST}:{port}{program.path}",
                pid=process.pid,
                ca_file=str(certificate.authority) if certificate else None,
                in_order=program.in_order,
            )
        except BenchmarkError as error:
            raise BenchmarkError(f"{program.name}: {error}{_tail(log)}") from None
        finally:
            stop(process)


@contextmanager
def serving(module: str, core: int) -> Iterator[str]:
    """Run a service in a separate process on `core`; yield its address, which it prints first."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=functools.partial(pin_child, core),
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise BenchmarkError(f"{module} did not start")
        yield url
    finally:
        process.kill()
        process.wait()


@contextmanager
def _unread_pipe() -> Iterator[int]:
    ours, theirs = os.pipe()
    try:
        yield theirs
    finally:
        os.close(theirs)
        os.close(ours)


def echo(load: EchoLoad, core: int) -> EchoResult:
    """Run calls that talk, in a process on `core`."""
    output = _run_load(load, core, timeout=load.warm_up + load.seconds + 60)
    return msgspec.json.decode(output, type=EchoResult)


def idle(load: IdleLoad, core: int) -> IdleResult:
    """Run calls that are silent, in a process on `core`."""
    return msgspec.json.decode(_run_load(load, core, timeout=90), type=IdleResult)


def _run_load(load: EchoLoad | IdleLoad, core: int, timeout: float) -> bytes:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load", msgspec.json.encode(load).decode()],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=functools.partial(pin_child, core),
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"the load had not finished after {timeout:.0f} s") from None
    finally:
        stop(process)
    if process.returncode != 0:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise BenchmarkError(f"the load ended with status {process.returncode}: {' '.join(last)}")
    return output


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(
    process: subprocess.Popen[bytes],
    port: int,
    health: str | None,
    certificate: Certificate | None,
) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchmarkError(f"the server ended with status {process.returncode}")
        try:
            if health is None:
                socket.create_connection((_HOST, port), timeout=1).close()
                return
            if _status(port, health, certificate) == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise BenchmarkError(f"the server was not ready after {_READY_SECONDS} s")


def _status(port: int, path: str, certificate: Certificate | None) -> int:
    connection: http.client.HTTPConnection
    if certificate is None:
        connection = http.client.HTTPConnection(_HOST, port, timeout=1)
    else:
        context = ssl.create_default_context(cafile=certificate.authority)
        connection = http.client.HTTPSConnection(_HOST, port, timeout=1, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process if it has not ended, and reap it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return "".join(f"\n    {line}" for line in lines[-8:])
