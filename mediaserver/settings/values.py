"""Reading the values of settings from the text of a flag, a variable or a file.

Each function raises `ValueError` if the value is not allowed.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from audiocodecs import AudioFormat
from mediaserver.protocol import PLIVO_FORMATS


_LONGEST_SOCKET_PATH: Final = 103
"""Bytes of the path of a Unix socket: 107 on Linux, 103 on macOS, without the null byte."""

_POSTGRES: Final = re.compile(
    r"(?:[^:/]*(?::[^@]*)?@)?"
    r"(?P<place>(?:\[[^/?]+\]|[^/:?@]*)(?::[0-9]{1,5})?(?:/[^?]*)?)"
    r"(?:\?(?P<query>.*))?"
)
"""The URL of a PostgreSQL database without its scheme, split as SQLAlchemy does it, which takes too
long to import. SQLAlchemy would take a password's @ for the host's beginning."""

_PLACE_PARAMETERS: Final = ("dbname", "host", "hostaddr", "options", "port", "service")
"""Parameters of libpq that name a server, a database or a schema."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def split_list(value: Any) -> Any:
    """Split text at its commas, and return anything else unchanged."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def read_networks(value: Any) -> tuple[Network, ...]:
    """Read addresses and CIDR ranges."""
    value = split_list(value)
    if not isinstance(value, list | tuple):
        raise ValueError("must be addresses or CIDR ranges such as 10.0.0.0/8, 192.0.2.7")
    networks = []
    for item in value:
        try:
            networks.append(ipaddress.ip_network(str(item)))
        except ValueError as error:
            raise ValueError(f"{error}; give addresses or CIDR ranges such as 10.0.0.0/8") from None
    return tuple(networks)


def read_stream_format(value: Any) -> AudioFormat:
    """Read one of the formats that Plivo streams."""
    parsed = value if isinstance(value, AudioFormat) else AudioFormat.parse(str(value))
    if parsed not in PLIVO_FORMATS:
        allowed = ", ".join(str(each) for each in PLIVO_FORMATS)
        raise ValueError(f"Plivo streams carry {allowed}, not {parsed}")
    return parsed


def off_is_none(value: Any) -> Any:
    """Return None for "off", "none" and empty text, and anything else unchanged."""
    if isinstance(value, str) and value.strip().lower() in ("", "none", "off"):
        return None
    return value


def read_web_url(value: Any) -> str | None:
    """Return the URL with the scheme ``http`` or ``https`` and without a trailing slash."""
    value = off_is_none(value)
    if value is None:
        return None
    text = str(value).strip()
    parts = urlsplit(text)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as https://voice.example.com")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must have no user name, query or fragment")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError(str(error)) from None
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("must be printable ASCII without spaces")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def read_node_address(value: Any) -> str | None:
    """Read where other machines reach this one; without a scheme it is ``http``."""
    value = off_is_none(value)
    if value is None:
        return None
    text = str(value).strip()
    try:
        url = read_web_url(text if "://" in text else f"http://{text}")
        parts = urlsplit(url or "")
        if parts.path or parts.port is None:
            raise ValueError
    except ValueError:
        raise ValueError("must be such as 10.0.0.5:8000 or https://10.0.0.5:8443") from None
    return url


def read_redirect(value: Any) -> str | None:
    """Read the URL of Plivo XML."""
    value = off_is_none(value)
    if value is None:
        return None
    parts = urlsplit(str(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", str(value)):
        raise ValueError("must be an http:// or https:// URL that answers with Plivo XML")
    return str(value)


def read_tokens(value: Any) -> Any:
    """Read tokens; text must contain at least one."""
    tokens = split_list(value)
    if isinstance(value, str) and not tokens:
        raise ValueError("must contain a token; leave it out if you have none")
    return tokens


def read_metrics(value: Any) -> str:
    """Read where metrics are served; an address gets its host: ``127.0.0.1:9100`` for 9100."""
    if isinstance(value, bool):
        return "shared" if value else "off"
    text = str(value).strip().lower()
    if text in ("auto", "shared", "off"):
        return text
    try:
        return _with_host(text)
    except ValueError:
        raise ValueError(
            "must be auto, shared, off, or an address such as 127.0.0.1:9100"
        ) from None


def _with_host(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65_535 or (":" in host and host[0] != "["):
        raise ValueError
    return f"{host or '127.0.0.1'}:{int(port)}"


def read_admin(value: Any) -> str:
    """Read where operators are served; the host may be left out, as in `read_metrics`."""
    if isinstance(value, bool) and not value:
        return "off"
    text = str(value).strip()
    if text.lower() in ("auto", "off"):
        return text.lower()
    if "/" in text:
        if len(os.fsencode(text)) > _LONGEST_SOCKET_PATH:
            raise ValueError(
                f"must have at most {_LONGEST_SOCKET_PATH} bytes, as the path of a Unix socket"
            )
        return text
    try:
        return _with_host(text)
    except ValueError:
        raise ValueError(
            "must be auto, off, the path of a Unix socket such as /run/mediaserver/admin.sock, or"
            " an address such as 127.0.0.1:8001"
        ) from None


def read_node(value: Any) -> str | None:
    """Read a name of 1 to 32 letters, digits, dots, underscores and hyphens."""
    if value is None or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", str(value)):
        return None if value is None else str(value)
    raise ValueError("must be a name such as node1, of at most 32 letters, digits and . _ -")


def read_records(value: Any) -> str | None:
    """Read where calls are recorded, and return it as a URL for SQLAlchemy."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        value = "on" if value else "off"
    text = str(off_is_none(value) or "").strip()
    if not text:
        return None
    if text.lower() == "on":
        return f"sqlite:///{state_folder() / 'calls.db'}"
    if "://" not in text:
        return _sqlite_url(text)
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return _sqlite_url(rest[1:])
    if scheme in ("postgresql", "postgres", "postgresql+psycopg") and rest:
        if not _POSTGRES.fullmatch(rest):
            raise ValueError(
                "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, where the port is a number,"
                " and : / @ in the user and @ in the password are written as %3A %2F %40"
            )
        return f"postgresql+psycopg://{rest}"
    raise ValueError(
        "must be on, the path of a SQLite file, sqlite:///PATH, or"
        " postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )


def _sqlite_url(path: str) -> str:
    if "?" in path:
        raise ValueError(
            "must have no ? in the path of a SQLite file, behind which a URL has parameters; SQLite"
            " takes none here"
        )
    return f"sqlite:///{Path(path).absolute()}"


def database_key(url: str) -> str:
    """Return what tells a database of records from others, out of the URL of `read_records`.

    Credentials do not, and of the parameters only those that name a server, a database or a schema.
    """
    scheme, _, rest = url.partition("://")
    match = _POSTGRES.fullmatch(rest) if scheme.startswith("postgresql") else None
    if match is None:
        return rest
    query = sorted(each for each in parse_qsl(match["query"] or "") if each[0] in _PLACE_PARAMETERS)
    return "?".join((match["place"], *(f"{name}={value}" for name, value in query)))


def read_webhook_url(value: Any) -> str | None:
    """Read the URL of a webhook."""
    value = off_is_none(value)
    if value is None:
        return None
    parts = urlsplit(str(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", str(value)):
        raise ValueError("must be an http:// or https:// URL")
    if parts.username or parts.fragment:
        raise ValueError("must have no user name and no fragment")
    return str(value)


def state_folder() -> Path:
    """Return the folder for what is kept: systemd's, or this user's."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base, "mediaserver")


def split_address(address: str) -> tuple[str, int]:
    """Return the host and the port of an address, such as ``[::1]:9100``."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def runtime_folder() -> Path:
    """Return the folder for this user's sockets: systemd's, the session's, or one of its own."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session:
        return Path(session, "mediaserver")
    return Path(tempfile.gettempdir(), f"mediaserver-{os.geteuid()}")


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_be_public(host: str) -> bool:
    """Tell whether the internet might reach a server that listens on `host`."""
    if host == "localhost":
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    return address.is_unspecified or not address.is_private
