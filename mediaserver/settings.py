"""Everything that can be set about the server, in one model.

A value comes from the first of: a command-line flag, the environment (``MEDIASERVER_…``), a TOML
file, the default. ``python -m mediaserver.settings`` prints the reference as Markdown.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import secrets
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.plivo.client import API_URL
from mediaserver.plivo.xml import Speak
from mediaserver.protocol import PLIVO_FORMATS


ENV_PREFIX: Final = "MEDIASERVER_"
DEFAULT_CONFIG: Final = Path("mediaserver.toml")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TOKENS: Final = ("auth_token", "more_auth_tokens")


_REFERENCE_HEAD: Final = """\
# Settings

<!-- Written by `python -m mediaserver.settings`. Change mediaserver/settings.py. -->

Each can be a flag of `mediaserver serve`, an environment variable, or a line in a TOML file
(`--config`, by default `mediaserver.toml` in the working directory). A flag wins over the
environment, the environment over the file. In the file a setting has the name of its flag with
underscores: `max_calls = 50`. Durations are seconds, sizes bytes.
"""


class SettingsError(ValueError):
    """Settings that cannot be used; `problems` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _networks(value: Any) -> Any:
    value = _split(value)
    if not isinstance(value, list | tuple):
        raise ValueError("must be addresses or CIDR ranges such as 10.0.0.0/8, 192.0.2.7")
    networks = []
    for item in value:
        try:
            networks.append(ipaddress.ip_network(str(item)))
        except ValueError as error:
            raise ValueError(f"{error}; give addresses or CIDR ranges such as 10.0.0.0/8") from None
    return tuple(networks)


def _format(value: Any) -> Any:
    parsed = value if isinstance(value, AudioFormat) else AudioFormat.parse(str(value))
    if parsed not in PLIVO_FORMATS:
        allowed = ", ".join(str(each) for each in PLIVO_FORMATS)
        raise ValueError(f"Plivo streams carry {allowed}; not {parsed}")
    return parsed


def _off_is_none(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() in ("", "none", "off"):
        return None
    return value


def _web_url(value: Any) -> Any:
    """Return the URL with an ``http`` or ``https`` scheme and no trailing slash."""
    value = _off_is_none(value)
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


def _redirect(value: Any) -> Any:
    value = _off_is_none(value)
    if value is None:
        return None
    parts = urlsplit(str(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", str(value)):
        raise ValueError("must be an http:// or https:// URL that answers with Plivo XML")
    return str(value)


def _tokens(value: Any) -> Any:
    tokens = _split(value)
    if isinstance(value, str) and not tokens:
        raise ValueError("must have a token; leave it out where there is none")
    return tokens


Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
Switchable = BeforeValidator(_off_is_none)


def _in(group: str, default: Any, description: str, **more: Any) -> Any:
    """Declare a setting of `group`."""
    if "default_factory" not in more:
        more["default"] = default
    return Field(description=description, json_schema_extra={"group": group}, **more)


class _Environment(EnvSettingsSource):
    """The environment, in which an empty variable sets nothing, unless it is to hold a token.

    A deployment whose secret has come out empty means to have one, and not to check nothing.
    """

    def __call__(self) -> dict[str, Any]:
        empty = {variable.upper() for variable, value in os.environ.items() if not value}
        return super().__call__() | {name: "" for name in _TOKENS if variable_of(name) in empty}


class Settings(BaseSettings):
    """The server's settings. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        validate_default=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is passed before what the environment has."""
        return init_settings, _Environment(settings_cls)

    # Where to listen, and for whom

    handler: Annotated[tuple[str, ...], NoDecode] = _in(
        "Server",
        (),
        "Handlers, as package.module:Name, /path=package.module:Name or"
        " +14155550100=package.module:Name (a dialled number). Several are words of their"
        " own on the command line, and separated by commas in the environment.",
    )
    host: str = _in("Server", "127.0.0.1", "Address to listen on; 0.0.0.0 for every IPv4 one.")
    port: int = _in(
        "Server", 8000, "Port to listen on; 0 takes a free one and logs which.", ge=0, le=65535
    )
    path: str = _in("Server", "/stream", "Path of the media WebSocket.")
    public_url: Annotated[str | None, BeforeValidator(_web_url)] = _in(
        "Server",
        None,
        "URL by which Plivo reaches this server, such as https://voice.example.com; a path in it is"
        " one that a proxy takes off. Without it, /answer believes the Host header.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = _in(
        "Server",
        (),
        "Addresses or CIDR ranges of proxies whose X-Forwarded-For, -Proto and -Host are believed,"
        " separated by commas.",
    )
    ssl_certfile: Annotated[Path | None, Switchable] = _in(
        "TLS", None, "PEM file with the certificate chain. Read again when it changes."
    )
    ssl_keyfile: Annotated[Path | None, Switchable] = _in(
        "TLS", None, "PEM file with the private key, unless the certificate file has it."
    )
    ssl_keyfile_password: SecretStr | None = _in(
        "TLS", None, "Passphrase of the private key. Prefer the environment to a flag."
    )

    # The account at Plivo

    auth_id: str | None = _in(
        "Plivo",
        None,
        "Auth ID of the account or subaccount, MA… or SA…, as Plivo's console has it.",
    )
    auth_token: SecretStr | None = _in(
        "Plivo",
        None,
        "Its auth token, which must be set where auth_id is. Once it is set, only webhooks and"
        " streams that Plivo signed are taken. Prefer the environment to a flag.",
    )
    more_auth_tokens: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_tokens)] = _in(
        "Plivo",
        (),
        "Further tokens whose signatures are taken, separated by commas: the old one while it is"
        " being changed, those of subaccounts, the main account's.",
    )
    api_url: Annotated[str, BeforeValidator(_web_url)] = _in(
        "Plivo", API_URL, "Where its REST API is: Plivo's, or a sandbox's."
    )
    calls_per_second: float = _in(
        "Plivo", 2.0, "How fast the account may place calls.", gt=0, le=1000
    )
    check_signatures: bool = _in(
        "Plivo", True, "Whether they are checked. Turn it off only where nobody else can connect."
    )
    accept_old_signatures: bool = _in(
        "Plivo",
        False,
        "Take webhooks that are signed by version 2 alone, which does not cover what they say.",
    )
    status_callbacks: bool = _in(
        "Plivo",
        False,
        "Have Plivo report on each stream to /status, which handlers see as StreamStatus. Each"
        " checkpoint then costs a request.",
    )

    # How many calls, and what callers hear when there is no room

    max_calls: int = _in(
        "Calls", 200, "Calls at once. Further callers get the busy message at /answer.", ge=1
    )
    busy_message: str = _in(
        "Calls",
        "All our lines are busy. Please call again later.",
        "What a caller hears when the server is full or draining; empty for a busy tone alone.",
    )
    busy_redirect: Annotated[str | None, BeforeValidator(_redirect)] = _in(
        "Calls", None, "URL of other Plivo XML for those callers, in place of the message."
    )
    on_end: str = _in(
        "Calls",
        "hangup",
        "What the call does when its stream has ended: hangup, or the URL of other Plivo XML.",
    )
    max_call_seconds: Annotated[Seconds | None, Switchable] = _in(
        "Calls", 14_400.0, "Longest call (Plivo's own default limit is 4 hours); off for no limit."
    )
    max_silence_seconds: Annotated[Seconds | None, Switchable] = _in(
        "Calls",
        900.0,
        "Close a call whose caller has neither spoken nor pressed a key for so long;"
        " off for never.",
    )
    reservation_seconds: Seconds = _in(
        "Calls", 30.0, "How long the place of a call answered at /answer waits for its stream."
    )
    token_seconds: Seconds = _in(
        "Calls", 300.0, "How long the token in a stream URL given out by /answer is good for."
    )
    require_token: bool = _in(
        "Calls", False, "Take only streams whose URL was given out at /answer."
    )
    secret: SecretStr = _in(
        "Calls",
        None,
        "Key that signs those tokens, at least 16 characters. Random in each process by default:"
        " set it when several processes serve one number.",
        default_factory=lambda: SecretStr(secrets.token_urlsafe(32)),
    )

    # One call's audio

    default_format: Annotated[InstanceOf[AudioFormat], BeforeValidator(_format)] = _in(
        "Audio",
        MULAW_8K,
        "Format that /answer asks for, and of a stream whose start names none.",
    )
    lead_seconds: Seconds = _in(
        "Audio", 0.6, "How far ahead of the caller's ear audio is sent.", ge=0.2, le=30
    )
    queue_seconds: Seconds = _in("Audio", 2.0, "Audio that play() queues before it waits.", le=3600)
    inbox_seconds: Seconds = _in(
        "Audio", 1.0, "Received audio that waits for the handler.", le=3600
    )
    inbox_overflow: Literal["drop", "pause"] = _in(
        "Audio", "drop", "Past that: drop the oldest audio, or pause reading from the socket."
    )

    coalesce_seconds: float = _in(
        "Audio",
        0.001,
        "While 20 calls or more are live, look at their sockets no more often than this: less CPU"
        " per frame, each frame as much later at most. What a handler does with an event in more"
        " than eight steps, each an await that lets others run, goes on only after so long again."
        " 0 to look whenever something comes.",
        ge=0,
        le=0.01,
    )

    # Limits and deadlines

    header_timeout: Seconds = _in(
        "Limits", 10.0, "Time a client has to send a request's headers, and again for its body."
    )
    idle_timeout: Seconds = _in(
        "Limits", 30.0, "How long an HTTP connection may stay open between requests."
    )
    max_header_bytes: Bytes = _in(
        "Limits", 16_384, "Longest request line and headers together.", ge=1024
    )
    max_body_bytes: Bytes = _in("Limits", 65_536, "Longest body of a webhook.", ge=1024)
    max_message_bytes: Bytes = _in(
        "Limits", 65_536, "Longest WebSocket message (Plivo's limit is 64 KB).", ge=1024
    )
    start_timeout: Seconds = _in(
        "Limits", 10.0, "Time a stream has to send its start event once it is connected."
    )
    ping_interval: Seconds = _in("Limits", 20.0, "Time between WebSocket pings.")
    dead_peer_timeout: Seconds = _in(
        "Limits", 30.0, "A stream that sends nothing, not even a pong, for so long is closed."
    )
    grace: Seconds = _in("Limits", 5.0, "Time a handler has to finish after its call has ended.")

    # Life of the process

    drain_delay: float = _in(
        "Shutdown",
        0.0,
        "After SIGTERM, how long new calls are still taken while /readyz already says 503: the time"
        " a load balancer needs to notice.",
        ge=0,
    )
    drain_timeout: float = _in(
        "Shutdown", 3600.0, "After SIGTERM, how long live calls may go on.", ge=0
    )

    # Seeing what goes on

    log_level: Literal["debug", "info", "warning", "error", "critical"] = _in(
        "Logs", "info", "Least severe messages to log."
    )
    log_format: Literal["console", "json"] = _in(
        "Logs", "console", "Lines for people, or one JSON object a line."
    )
    access_log: bool = _in("Logs", False, "Log each HTTP request.")
    block_warning: Annotated[Seconds | None, Switchable] = _in(
        "Logs", 0.5, "Report code that keeps the event loop busy for so long; off for never."
    )

    @field_validator("handler", mode="before")
    @classmethod
    def _split_handlers(cls, value: Any) -> Any:
        return _split(value)

    @field_validator("log_level", "log_format", "inbox_overflow", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("path")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if not re.fullmatch(r"/[^\s?#]*", value):
            raise ValueError("must start with / and have no space, query or fragment")
        return value

    @field_validator("on_end")
    @classmethod
    def _is_end(cls, value: str) -> str:
        if value == "hangup":
            return value
        try:
            return str(_redirect(value))
        except ValueError:
            raise ValueError("must be hangup, or an http:// or https:// URL") from None

    @field_validator("secret")
    @classmethod
    def _is_long(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters")
        return value

    @field_validator("busy_message")
    @classmethod
    def _is_speakable(cls, value: str) -> str:
        if value.strip():
            Speak(value)
        return value.strip()

    @field_validator("auth_id", mode="before")
    @classmethod
    def _strip_id(cls, value: Any) -> Any:
        return value.strip() or None if isinstance(value, str) else value

    @field_validator("auth_token", mode="before")
    @classmethod
    def _strip_token(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    @field_validator("auth_token", "more_auth_tokens")
    @classmethod
    def _is_given(
        cls, value: SecretStr | tuple[SecretStr, ...] | None
    ) -> SecretStr | tuple[SecretStr, ...] | None:
        tokens = (value,) if isinstance(value, SecretStr) else value or ()
        if not all(each.get_secret_value().strip() for each in tokens):
            raise ValueError("must not be blank; leave it out where there is none")
        return value

    @field_validator("auth_id")
    @classmethod
    def _is_auth_id(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", value):
            raise ValueError("must be letters and digits, such as MA… and 18 more")
        return value

    @field_validator("port", mode="before")
    @classmethod
    def _is_port(cls, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("tcp://"):
            raise ValueError(
                f"{value} is what Kubernetes sets for a service named mediaserver;"
                " set enableServiceLinks: false in the pod"
            )
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ValueError("ssl_keyfile is set and ssl_certfile is not: TLS needs both")
        if self.dead_peer_timeout <= self.ping_interval:
            raise ValueError(
                f"dead_peer_timeout ({self.dead_peer_timeout:g} s) must be above ping_interval"
                f" ({self.ping_interval:g} s)"
            )
        if self.check_signatures and not self.auth_tokens:
            asked = [name for name in ("auth_id", "check_signatures") if self._is_set(name)]
            if asked:
                raise ValueError(
                    f"auth_token is not set and {asked[0]} is: without a token no signature can be"
                    " checked. Set MEDIASERVER_AUTH_TOKEN, or turn check_signatures off"
                )
        return self

    def _is_set(self, name: str) -> bool:
        return name in self.model_fields_set and getattr(self, name) is not None

    @property
    def auth_tokens(self) -> tuple[str, ...]:
        """Every token whose signature is taken, in the clear."""
        own = (self.auth_token,) if self.auth_token is not None else ()
        return tuple(each.get_secret_value() for each in (*own, *self.more_auth_tokens))

    @property
    def tls(self) -> bool:
        """Whether the server itself speaks TLS."""
        return self.ssl_certfile is not None

    @property
    def secret_is_random(self) -> bool:
        """Whether this process made up its own token secret."""
        return "secret" not in self.model_fields_set


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Settings:
    """Gather the settings from flags, the environment and a TOML file.

    Args:
        flags: Values by the name of the setting, such as those given on the command line.
        config: TOML file. By default ``mediaserver.toml`` in the working directory, if it is there.

    Raises:
        SettingsError: A value is wrong, a name in the file is unknown, or the file cannot be read.

    """
    flags = {name: value for name, value in (flags or {}).items() if value is not None}
    environment = _Environment(Settings)()
    file = _read_toml(config)
    source = str(config or DEFAULT_CONFIG)

    def origin(name: str) -> str:
        if name in flags:
            return flag_of(name)
        if name in environment:
            return variable_of(name)
        return f"{source}: {name}"

    values = {**file, **environment, **flags}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_problems(error, values, origin)) from None


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return warnings about ``MEDIASERVER_…`` variables that name no setting.

    Those that Kubernetes sets for a service named ``mediaserver`` are passed over.
    """
    known = {variable_of(name) for name in Settings.model_fields}
    warnings = []
    for name in sorted(os.environ if environment is None else environment):
        upper = name.upper()
        if not upper.startswith(ENV_PREFIX) or upper in known:
            continue
        if re.fullmatch(rf"{ENV_PREFIX}(SERVICE_.*|PORT_\d+_.*)", upper):
            continue
        setting = upper.removeprefix(ENV_PREFIX).lower()
        near = _near(setting, Settings.model_fields, variable_of)
        warnings.append(f"{name} names no setting{near}")
    return warnings


def flag_of(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENV_PREFIX + name.upper()


def group_of(field: FieldInfo) -> str:
    """Return the group that a setting is listed under."""
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def default_of(field: FieldInfo) -> str:
    """Return a setting's default as it would be written, empty where there is none."""
    value = field.default
    if field.default_factory is not None:
        return "random"
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def reference() -> str:
    """Return every setting as a page of Markdown."""
    lines = _REFERENCE_HEAD.splitlines()
    group = ""
    for name, field in Settings.model_fields.items():
        if group_of(field) != group:
            group = group_of(field)
            lines += [
                "",
                f"## {group}",
                "",
                "| flag | environment | default | |",
                "|---|---|---|---|",
            ]
        default = default_of(field)
        flag = "SPEC…" if name == "handler" else flag_of(name)
        lines.append(
            f"| `{flag}` | `{variable_of(name)}` | {f'`{default}`' if default else ''} |"
            f" {field.description} |"
        )
    return "\n".join(lines) + "\n"


def _read_toml(config: Path | None) -> dict[str, Any]:
    path = config or DEFAULT_CONFIG
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        if config is None:
            return {}
        raise SettingsError([f"{path}: there is no such file"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: not TOML: {error}"]) from None


def _problems(
    error: ValidationError, values: Mapping[str, Any], origin: Callable[[str], str]
) -> list[str]:
    problems = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        message = detail["msg"].removeprefix("Value error, ")
        if not detail["loc"]:
            problems.append(message)
            continue
        name = str(detail["loc"][0])
        if detail["type"] == "extra_forbidden":
            problems.append(f"{origin(name)}: unknown setting{_near(name, Settings.model_fields)}")
            continue
        given = ""
        if not _is_secret(name):
            given = f" {str(values.get(name))[:100]!r}"
        message = message.replace("Input should ", "must ", 1)
        problems.append(f"{origin(name)}:{given} {message}")
    return problems


def _is_secret(name: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[name].annotation)


def _near(name: str, known: Iterable[str], write: Callable[[str], str] = str) -> str:
    match = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {write(match[0])}?" if match else ""


if __name__ == "__main__":
    print(reference(), end="")
