"""TLS with certificate files that are read again when they change.

A renewal must not interrupt calls: open connections keep what they negotiated, and new ones get the
new certificate.
"""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog


log = structlog.get_logger(__name__)

_PEM_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_PEM_END: Final = "-----END CERTIFICATE-----"

_Fingerprint = tuple[tuple[int, int, int], ...]


class TLSError(ValueError):
    """Certificate files cannot be used; the message says which and why."""


class Certificates:
    """A certificate chain and its key on disk, with an `ssl.SSLContext` that uses them.

    Args:
        certfile: PEM file with the chain.
        keyfile: PEM file with the key, or None if `certfile` has it.
        password: Passphrase of the key, if it has one.

    Raises:
        TLSError: The files cannot be read, or do not belong together.

    """

    def __init__(self, certfile: Path, keyfile: Path | None = None, password: str = "") -> None:
        self._certfile = certfile
        self._keyfile = keyfile
        self._password = password
        self._fingerprint = self._look()
        self.context = self._new_context()
        """The context for TLS 1.2 and later."""
        self.expires = self._read_expiry()
        """When the server's certificate expires, in seconds since the epoch; None if unreadable."""

    def reload_if_changed(self) -> bool:
        """Load the files if they have changed, and tell whether new ones are in use.

        If they cannot be used, the old certificate stays in use and one error is logged.
        """
        try:
            fingerprint = self._look()
            if fingerprint == self._fingerprint:
                return False
            self._fingerprint = fingerprint
            # A bad pair would break the live context, so it is loaded into another one first.
            self._new_context()
            self._load(self.context)
        except TLSError as error:
            log.error(
                "new certificate not usable", error=str(error), hint="the old one stays in use"
            )
            return False
        self.expires = self._read_expiry()
        log.info("certificate reloaded", certfile=str(self._certfile))
        return True

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        files = " and ".join(str(file) for file in (self._certfile, self._keyfile) if file)
        try:
            # Without a callable, OpenSSL would prompt on the terminal for a missing passphrase.
            context.load_cert_chain(self._certfile, self._keyfile, lambda: self._password)
        except ssl.SSLError as error:
            reason = (error.reason or "holds no PEM").replace("_", " ").lower()
            raise TLSError(
                f"{files}: {reason}; expected a PEM certificate chain and its private key"
            ) from None
        except OSError as error:
            raise TLSError(f"{files}: {error.strerror or error}") from None

    def _read_expiry(self) -> float | None:
        text = self._certfile.read_text("latin-1")
        begin, end = text.find(_PEM_BEGIN), text.find(_PEM_END)
        if begin < 0 or end < begin:
            return None
        return not_after(ssl.PEM_cert_to_DER_cert(text[begin : end + len(_PEM_END)] + "\n"))

    def _look(self) -> _Fingerprint:
        return tuple(_stat(file) for file in (self._certfile, self._keyfile) if file is not None)


def not_after(der: bytes) -> float | None:
    """Return when a certificate expires, in seconds since the epoch; None if it cannot be read.

    The standard library tells this only of a peer's certificate. In RFC 5280, section 4.1, the
    validity is the fifth field of the inner sequence, after the optional version, the serial
    number, the algorithm and the issuer.
    """
    try:
        fields = _content(_content(der)[1])[1]
        if fields[0] == _VERSION:
            fields = _content(fields)[2]
        for _ in range(3):
            fields = _content(fields)[2]
        _, _, rest = _content(_content(fields)[1])
        kind, text, _ = _content(rest)
        form = "%y%m%d%H%M%SZ" if kind == _UTC_TIME else "%Y%m%d%H%M%SZ"
        return datetime.strptime(text.decode(), form).replace(tzinfo=UTC).timestamp()
    except (IndexError, ValueError):
        return None


_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17


def _content(der: bytes) -> tuple[int, bytes, bytes]:
    """Return the tag and the content of the first element, and what follows it."""
    start, length = 2, der[1]
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(der[2:start], "big")
    return der[0], der[start : start + length], der[start + length :]


def _stat(file: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(file)
    except OSError as error:
        raise TLSError(f"{file}: {error.strerror}") from None
    return status.st_mtime_ns, status.st_ino, status.st_size
