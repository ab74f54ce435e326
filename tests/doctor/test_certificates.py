import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from mediaserver.doctor.certificates import certificate_files, judge_expiry, tls_chain
from mediaserver.doctor.findings import Finding
from mediaserver.doctor.subject import Subject
from mediaserver.settings import Settings


NOW = 1_800_000_000.0


@contextlib.asynccontextmanager
async def served(certificate: trustme.LeafCert | None) -> AsyncIterator[Subject]:
    """Serve a certificate, or no TLS, on a port of this machine."""
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)

    def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Subject(Settings(public_url=f"https://127.0.0.1:{port}"))


async def found(certificate: trustme.LeafCert | None) -> Finding:
    async with served(certificate) as subject:
        return await tls_chain(subject)


async def test_a_good_chain_passes(trusted: trustme.CA) -> None:
    finding = await found(trusted.issue_cert("127.0.0.1"))
    assert finding.status == "ok"
    assert "is good for" in finding.detail


async def test_an_expired_certificate_is_told(trusted: trustme.CA) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    finding = await found(trusted.issue_cert("127.0.0.1", not_after=yesterday))
    assert finding.status == "failed"
    assert "expired" in finding.detail
    assert "renew" in str(finding.remedy)


async def test_a_certificate_that_ends_soon_is_told(trusted: trustme.CA) -> None:
    soon = datetime.now(UTC) + timedelta(days=3, hours=1)
    finding = await found(trusted.issue_cert("127.0.0.1", not_after=soon))
    assert finding.status == "failed"
    assert "ends in 3 days" in finding.detail


async def test_an_authority_that_nobody_knows_is_told() -> None:
    finding = await found(trustme.CA().issue_cert("127.0.0.1"))
    assert finding.status == "failed"
    assert "cannot be verified" in finding.detail


async def test_a_chain_with_a_gap_is_told(trusted: trustme.CA) -> None:
    certificate = trusted.create_child_ca().issue_cert("127.0.0.1")
    key, leaf = certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()
    certificate.private_key_and_cert_chain_pem = trustme.Blob(key + leaf)
    finding = await found(certificate)
    assert finding.status == "failed"
    assert finding.remedy == "give the server the whole chain: fullchain.pem, and not cert.pem"


async def test_a_certificate_of_another_host_is_told(trusted: trustme.CA) -> None:
    finding = await found(trusted.issue_cert("other.example.com"))
    assert finding.status == "failed"
    assert finding.remedy == "get a certificate that has the host of the public URL"


async def test_a_port_without_tls_is_told() -> None:
    finding = await found(None)
    assert finding.status == "failed"
    assert "no TLS at" in finding.detail


@pytest.mark.parametrize(
    ("url", "status"),
    [(None, "skipped"), ("http://127.0.0.1:9", "skipped"), ("https://127.0.0.1:9", "failed")],
)
async def test_without_a_chain_none_is_verified(url: str | None, status: str) -> None:
    assert (await tls_chain(Subject(Settings(public_url=url)))).status == status


@pytest.mark.parametrize(
    ("days", "status"), [(-1.0, "failed"), (13.0, "failed"), (15.0, "ok"), (None, "failed")]
)
def test_when_it_ends_decides(days: float | None, status: str) -> None:
    ends = None if days is None else NOW + days * 86_400
    assert judge_expiry("cert.pem", ends, NOW).status == status


def files(authority: trustme.CA, folder: Path, **options: Any) -> Subject:
    certificate = authority.issue_cert("voice.example.com", **options)
    path = folder / "both.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    return Subject(Settings(ssl_certfile=path))


async def test_the_files_of_the_server_are_read(authority: trustme.CA, tmp_path: Path) -> None:
    assert (await certificate_files(files(authority, tmp_path))).status == "ok"
    old = files(authority, tmp_path, not_after=datetime.now(UTC) - timedelta(days=2))
    assert (await certificate_files(old)).status == "failed"


async def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    finding = await certificate_files(Subject(Settings(ssl_certfile=tmp_path / "missing.pem")))
    assert finding.status == "failed"
    assert "missing.pem" in finding.detail


async def test_a_server_without_files_has_none_to_read() -> None:
    assert (await certificate_files(Subject(Settings()))).status == "skipped"
