import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from trustme import CA

from mediaserver.server.process.tls import Certificates, TLSError, not_after


@pytest.fixture(scope="module")
def authority() -> CA:
    return trustme.CA()


@pytest.fixture
def issue(authority: CA, tmp_path: Path) -> Callable[..., Any]:
    """Write a new certificate and key over the old ones, and return its host name."""

    def write(host: str, *, key_of: str | None = None) -> None:
        certificate = authority.issue_cert(host)
        key = (authority.issue_cert(key_of) if key_of else certificate).private_key_pem
        for name, blobs in (
            ("cert.pem", [each.bytes() for each in certificate.cert_chain_pems]),
            ("key.pem", [key.bytes()]),
        ):
            # As certificate tools do: a new file is moved over the old one.
            new = tmp_path / f"{name}.new"
            new.write_bytes(b"".join(blobs))
            os.replace(new, tmp_path / name)

    write("one.example")
    return write


@pytest.fixture
def certificates(issue: Callable[..., Any], tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "cert.pem", tmp_path / "key.pem")


def served_names(context: SSLContext, authority: CA) -> list[str]:
    """Shake hands in memory and return the names in the server's certificate."""
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    client_context.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    certificate: Any = client.getpeercert()
    return [value for _, value in certificate["subjectAltName"]]


def test_tls_before_1_2_is_not_spoken(certificates: Certificates) -> None:
    assert certificates.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_files_that_have_not_changed_are_not_read_again(certificates: Certificates) -> None:
    assert not certificates.reload_if_changed()


def test_a_new_certificate_is_served_by_the_same_context(
    certificates: Certificates, issue: Callable[..., Any], authority: CA
) -> None:
    context = certificates.context
    assert served_names(context, authority) == ["one.example"]
    issue("two.example")
    assert certificates.reload_if_changed()
    assert certificates.context is context
    assert served_names(context, authority) == ["two.example"]


def test_a_key_of_another_certificate_leaves_the_old_one_in_use(
    certificates: Certificates, issue: Callable[..., Any], authority: CA
) -> None:
    issue("two.example", key_of="three.example")
    assert not certificates.reload_if_changed()
    assert served_names(certificates.context, authority) == ["one.example"]


def test_the_pair_is_taken_once_its_second_file_has_come(
    certificates: Certificates, issue: Callable[..., Any], authority: CA
) -> None:
    issue("two.example", key_of="three.example")
    certificates.reload_if_changed()
    issue("two.example")
    assert certificates.reload_if_changed()
    assert served_names(certificates.context, authority) == ["two.example"]


def test_a_file_that_vanishes_leaves_the_old_one_in_use(
    certificates: Certificates, authority: CA, tmp_path: Path
) -> None:
    (tmp_path / "cert.pem").unlink()
    assert not certificates.reload_if_changed()
    assert served_names(certificates.context, authority) == ["one.example"]


def test_a_bad_file_is_reported_once(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = []
    monkeypatch.setattr(
        "mediaserver.server.process.tls.log.error",
        lambda event, **more: errors.append(more["error"]),
    )
    (tmp_path / "cert.pem").write_text("nonsense")
    certificates.reload_if_changed()
    certificates.reload_if_changed()
    assert len(errors) == 1
    assert str(tmp_path / "cert.pem") in errors[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TLSError, match=r"nowhere\.pem: No such file"):
        Certificates(tmp_path / "nowhere.pem")


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nonsense")
    with pytest.raises(TLSError, match=r"cert\.pem: .*expected a PEM certificate chain"):
        Certificates(tmp_path / "cert.pem")


def test_a_key_without_its_passphrase_is_refused_without_asking(
    issue: Callable[..., Any], tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")
    )
    (tmp_path / "key.pem").write_bytes(locked)
    with pytest.raises(TLSError):
        Certificates(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert Certificates(tmp_path / "cert.pem", tmp_path / "key.pem", "open sesame").context


@pytest.mark.parametrize("year", [2031, 2049, 2051])
def test_when_a_certificate_expires_is_read(tmp_path: Path, year: int) -> None:
    moment = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    certificate = trustme.CA().issue_cert("one.example", not_after=moment)
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    assert Certificates(tmp_path / "server.pem").expires == moment.timestamp()


@given(st.binary(max_size=60))
def test_what_is_no_certificate_has_no_expiry(data: bytes) -> None:
    not_after(data)
