"""The certificates: the files of the server's own, and the chain at the public URL."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

from mediaserver.doctor.findings import Finding, failed, passed, skipped
from mediaserver.doctor.public_url import NO_URL
from mediaserver.doctor.subject import Subject
from mediaserver.server.process.daemon import load_certificates
from mediaserver.server.process.tls import TLSError


_DAY: Final = 86_400.0
_DAYS_LEFT: Final = 14
"""Days before the end at which a certificate should have been renewed."""

_MENDS: Final = {
    10: "renew the certificate, and see why that was not done by itself",
    18: "get a certificate of a public authority, such as Let's Encrypt: Plivo trusts no other",
    19: "get a certificate of a public authority, such as Let's Encrypt: Plivo trusts no other",
    20: "give the server the whole chain: fullchain.pem, and not cert.pem",
    21: "give the server the whole chain: fullchain.pem, and not cert.pem",
    62: "get a certificate that has the host of the public URL",
    64: "get a certificate that has the host of the public URL",
}
"""By OpenSSL's code of what is wrong (``X509_V_ERR_…``)."""


async def certificate_files(subject: Subject) -> Finding:
    """Tell whether the certificate files can be used, and for how long."""
    if not subject.settings.tls:
        return skipped("ssl_certfile is not set: the server has no TLS of its own")
    try:
        certificates = load_certificates(subject.settings)
    except TLSError as error:
        return failed(str(error), "set ssl_certfile and ssl_keyfile to files that belong together")
    expires = certificates.expires if certificates else None
    return judge_expiry(str(subject.settings.ssl_certfile), expires, time.time())


async def tls_chain(subject: Subject) -> Finding:
    """Shake hands at the public URL, and verify the chain as a client does."""
    url = subject.settings.public_url
    if url is None:
        return skipped(NO_URL)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    if parts.scheme != "https":
        return skipped(f"{url} has no TLS")
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        return failed(
            f"the certificate at {host}:{port} cannot be verified: {error.verify_message}",
            _MENDS.get(error.verify_code, "get a certificate that clients can verify"),
        )
    except ssl.SSLError as error:
        return failed(
            f"no TLS at {host}:{port}: {(error.reason or str(error)).replace('_', ' ').lower()}",
            "have the proxy, or the server with ssl_certfile, speak TLS 1.2 or newer there",
        )
    except OSError as error:
        return failed(
            f"{host}:{port} cannot be reached: {error}",
            "start the server and the proxy, and open the port in the firewall",
        )
    peer = writer.get_extra_info("peercert")
    writer.transport.abort()
    ends = ssl.cert_time_to_seconds(peer["notAfter"])
    return judge_expiry(f"the certificate at {host}:{port}", ends, time.time())


def judge_expiry(which: str, ends: float | None, now: float) -> Finding:
    """Judge when a certificate ends, in seconds since the epoch."""
    if ends is None:
        return failed(
            f"{which}: it cannot be read when the certificate ends", "get a usual X.509 certificate"
        )
    days = (ends - now) / _DAY
    if days < 0:
        return failed(f"{which} ended {-days:.0f} days ago", _MENDS[10])
    if days < _DAYS_LEFT:
        return failed(f"{which} ends in {days:.0f} days", _MENDS[10])
    return passed(f"{which} is good for {days:.0f} days")
