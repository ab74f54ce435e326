"""The model of all settings: names, types, defaults, descriptions and rules."""

from __future__ import annotations

import os
import re
import secrets
from base64 import b64decode
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from audiocodecs import AudioFormat
from mediaserver.call.settings import CallSettings
from mediaserver.captures.wire_redaction import REDACTABLE, Redacted
from mediaserver.plivo.addresses import API_URL
from mediaserver.plivo.numbers import phone_key
from mediaserver.plivo.stream_options import StreamOptions
from mediaserver.plivo.stream_parameters import (
    AUDIO_TRACK,
    BIDIRECTIONAL,
    EXTRA_HEADERS,
    KEEP_CALL_ALIVE,
    NOISE_CANCELLATION,
    NOISE_CANCELLATION_LEVEL,
    STATUS_CALLBACK_METHOD,
    STATUS_CALLBACK_URL,
    STREAM_PARAMETERS,
    STREAM_TIMEOUT,
)
from mediaserver.plivo.xml import Speak
from mediaserver.settings.values import (
    Network,
    database_key,
    is_loopback,
    may_be_public,
    off_is_none,
    read_admin,
    read_metrics,
    read_networks,
    read_node,
    read_node_address,
    read_records,
    read_redirect,
    read_stream_format,
    read_tokens,
    read_web_url,
    read_webhook_url,
    runtime_folder,
    split_address,
    split_list,
    state_folder,
)


ENV_PREFIX: Final = "MEDIASERVER_"
"""Prefix of the environment variables of all settings."""

_TOKENS: Final = ("auth_token", "more_auth_tokens", "admin_token")

_CALL: Final = CallSettings()
"""Has the defaults of what is set for each call."""


class Unit(str):
    """What a number is of, as the help of a command writes it in its place: ``SECONDS``."""

    __slots__ = ()


_COUNT: Final = Unit("N")
_SECONDS: Final = Unit("SECONDS")
_BYTES: Final = Unit("BYTES")

_Count = Annotated[int, _COUNT]
_Seconds = Annotated[float, Field(gt=0), _SECONDS]
_Days = Annotated[float, Field(gt=0, le=36_500), Unit("DAYS")]
_Bytes = Annotated[int, Field(gt=0), _BYTES]
_Megabytes = Annotated[int, Unit("MEGABYTES")]
_Switchable = BeforeValidator(off_is_none)


def _in(group: str, default: Any, description: str, **more: Any) -> Any:
    """Declare a setting of `group`."""
    if "default_factory" not in more:
        more["default"] = default
    return Field(description=description, json_schema_extra={"group": group}, **more)


def flag_of(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENV_PREFIX + name.upper()


class EnvironmentSource(EnvSettingsSource):
    """The environment. An empty variable sets nothing, unless it is one for tokens.

    An empty token is treated as a mistake, not as "do not check signatures".
    """

    def __call__(self) -> dict[str, Any]:
        """Return the values of the variables that are set."""
        ours = [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]
        if not ours:
            return {}  # To look for each setting takes 3 ms.
        empty = {name.upper() for name in ours if not os.environ[name]}
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
        """Let arguments win over the environment."""
        return init_settings, EnvironmentSource(settings_cls)

    # Where to listen

    handler: Annotated[tuple[str, ...], NoDecode] = _in(
        "Server",
        (),
        "Handlers, as package.module:Name, /path=package.module:Name or"
        " +14155550100=package.module:Name (a dialled number). Separate several with spaces on the"
        " command line, with commas in the environment.",
    )
    host: str = _in(
        "Server", "127.0.0.1", "Address to listen on; 0.0.0.0 means every IPv4 address."
    )
    port: _Count = _in(
        "Server", 8000, "Port to listen on; 0 picks a free port and logs it.", ge=0, le=65535
    )
    workers: _Count = _in(
        "Server",
        0,
        "Worker processes, which share the port and max_calls: about one for each core. A"
        " supervisor starts them, and gives each connection to the one that has the least to do."
        " 0 serves everything in one process.",
        ge=0,
        le=64,
    )
    worker_watchdog: Annotated[_Seconds | None, _Switchable] = _in(
        "Server",
        30.0,
        "End a worker whose event loop stands still for this long, with its calls, and start"
        " another one; off for never. WatchdogSec= of systemd takes its place.",
    )
    node: Annotated[str | None, BeforeValidator(read_node)] = _in(
        "Server",
        None,
        "Name of this server among several behind one proxy, such as node1. It is in the URLs of"
        " streams, so that the proxy can bring them to the server that has prepared them. Random by"
        " default.",
    )
    path: str = _in("Server", "/stream", "Path of the media WebSocket.")
    public_url: Annotated[str | None, BeforeValidator(read_web_url)] = _in(
        "Server",
        None,
        "URL at which Plivo reaches this server, such as https://voice.example.com. If it has a"
        " path, a proxy must strip it. Without this setting, /answer trusts the Host header.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(read_networks)] = _in(
        "Server",
        (),
        "Addresses or CIDR ranges of proxies whose X-Forwarded-For, -Proto and -Host are trusted,"
        " separated by commas.",
    )
    ssl_certfile: Annotated[Path | None, _Switchable] = _in(
        "TLS", None, "PEM file with the certificate chain. It is read again when it changes."
    )
    ssl_keyfile: Annotated[Path | None, _Switchable] = _in(
        "TLS", None, "PEM file with the private key, unless the certificate file contains it."
    )
    ssl_keyfile_password: SecretStr | None = _in(
        "TLS", None, "Passphrase of the private key. Prefer the environment to a flag."
    )

    # The account at Plivo

    auth_id: str | None = _in(
        "Plivo",
        None,
        "Auth ID of the account or subaccount, MA… or SA…, from Plivo's console.",
    )
    auth_token: SecretStr | None = _in(
        "Plivo",
        None,
        "Auth token of the account; required if auth_id is set. If it is set, only webhooks and"
        " streams that Plivo signed are accepted. Prefer the environment to a flag.",
    )
    more_auth_tokens: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(read_tokens)] = (
        _in(
            "Plivo",
            (),
            "Further tokens whose signatures are accepted, separated by commas: the old one during"
            " a change, those of subaccounts, that of the main account.",
        )
    )
    api_url: Annotated[str, BeforeValidator(read_web_url)] = _in(
        "Plivo", API_URL, "URL of the REST API: Plivo's, or a sandbox's."
    )
    calls_per_second: Annotated[float, _COUNT] = _in(
        "Plivo", 2.0, "Most calls that the account may place in a second.", gt=0, le=1000
    )
    check_signatures: bool = _in(
        "Plivo", True, "Check Plivo's signatures. Turn this off only where nobody else can connect."
    )
    accept_old_signatures: bool = _in(
        "Plivo",
        False,
        "Accept webhooks that have only a version 2 signature, which does not cover their content.",
    )
    status_callbacks: bool = _in(
        "Plivo",
        False,
        "Have Plivo report on each stream to /status; handlers get the reports as StreamStatus."
        " Each checkpoint then costs a request.",
    )

    # How many calls, and what callers hear when the server is full

    max_calls: _Count = _in(
        "Calls", 200, "Most simultaneous calls. Further callers get the busy message.", ge=1
    )
    max_calls_account: Annotated[_Count | None, Field(ge=1), _Switchable] = _in(
        "Calls",
        None,
        "Most simultaneous calls of all nodes together, where --redis joins them; without Redis, of"
        " each machine. Further callers get the busy message.",
    )
    max_calls_route: Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)] = _in(
        "Calls",
        (),
        "Most simultaneous calls of single routes, of all nodes together, by path or number:"
        " /sales=20,+14155550100=5. Without Redis they hold in each process.",
    )
    busy_message: str = _in(
        "Calls",
        "All our lines are busy. Please call again later.",
        "What a caller hears when the server is full or draining; empty for only a busy tone.",
    )
    busy_redirect: Annotated[str | None, BeforeValidator(read_redirect)] = _in(
        "Calls", None, "URL of Plivo XML for those callers, instead of the message."
    )
    on_end: str = _in(
        "Calls",
        "hangup",
        "What the call does after its stream has ended: hangup, or the URL of Plivo XML to run.",
    )
    resume_calls: _Count = _in(
        "Calls",
        0,
        "How often one call gets a new stream after its connection broke or the process that had it"
        " died; 0 for never. The XML of /answer then has a <Redirect> to /resume after <Stream>.",
        ge=0,
        le=100,
    )
    max_call_seconds: Annotated[_Seconds | None, _Switchable] = _in(
        "Calls", 14_400.0, "Longest call (Plivo's own default limit is 4 hours); off for no limit."
    )
    max_silence_seconds: Annotated[_Seconds | None, _Switchable] = _in(
        "Calls",
        900.0,
        "Close a call on which nobody has spoken and no key was pressed for this long, not counting"
        " the time in which the caller hears something; off for never.",
    )
    reservation_seconds: _Seconds = _in(
        "Calls",
        30.0,
        "Longest time for which the place of a call answered at /answer is reserved for its stream."
        " It is reserved for three times as long as streams have needed lately, at least 1 s.",
    )
    token_seconds: _Seconds = _in(
        "Calls", 300.0, "How long the token in a stream URL from /answer is valid."
    )
    require_token: bool = _in("Calls", False, "Accept only streams whose URL came from /answer.")
    secret: SecretStr = _in(
        "Calls",
        None,
        "Key that signs those tokens, at least 16 characters. By default random in each server:"
        " set it if several servers serve one number.",
        default_factory=lambda: SecretStr(secrets.token_urlsafe(32)),
    )

    # The attributes of <Stream>; a route, or on_answer, may have others

    bidirectional: Annotated[bool, BIDIRECTIONAL] = _in(
        "Stream", True, "Whether audio can be played to callers."
    )
    audio_track: Annotated[Literal["inbound", "outbound", "both"] | None, AUDIO_TRACK] = _in(
        "Stream",
        None,
        "What is streamed: the caller (inbound, Plivo's default), what the caller hears (outbound),"
        " or both. Plivo streams outbound and both only with --no-bidirectional.",
    )
    stream_timeout: Annotated[int | None, STREAM_TIMEOUT, _SECONDS] = _in(
        "Stream", None, "Longest stream, in seconds; Plivo's default is 86400."
    )
    extra_headers: Annotated[str | None, EXTRA_HEADERS] = _in(
        "Stream",
        None,
        "Sent back in each stream's start event: key1=value1,key2=value2, of letters and digits.",
    )
    keep_call_alive: Annotated[bool, KEEP_CALL_ALIVE] = _in(
        "Stream",
        True,
        "Whether a call waits for the end of its stream before it goes on with on_end. Without it,"
        " the call goes on at once, beside its stream.",
    )
    noise_cancellation: Annotated[bool, NOISE_CANCELLATION] = _in(
        "Stream", False, "Have Plivo remove noise from the caller's audio."
    )
    noise_cancellation_level: Annotated[int | None, NOISE_CANCELLATION_LEVEL, _COUNT] = _in(
        "Stream", None, "How strongly, 60 to 100; Plivo's default is 85."
    )
    status_callback_url: Annotated[str | None, STATUS_CALLBACK_URL] = _in(
        "Stream",
        None,
        "URL of your own for Plivo's reports on streams, in place of status_callbacks.",
    )
    status_callback_method: Annotated[Literal["GET", "POST"] | None, STATUS_CALLBACK_METHOD] = _in(
        "Stream", None, "How Plivo sends those reports; its default is POST."
    )

    # One call's audio

    default_format: Annotated[InstanceOf[AudioFormat], BeforeValidator(read_stream_format)] = _in(
        "Audio",
        _CALL.default_format,
        "Format that /answer requests, and that a stream has if its start event names none.",
    )
    lead_seconds: _Seconds = _in(
        "Audio", _CALL.lead, "Audio is sent this long before the caller hears it.", ge=0.2, le=30
    )
    queue_seconds: _Seconds = _in(
        "Audio", _CALL.queue_high, "Audio that play() queues before it waits.", le=3600
    )
    inbox_seconds: _Seconds = _in(
        "Audio",
        _CALL.inbox_length,
        "Received audio that is kept until the handler reads it.",
        le=3600,
    )
    inbox_overflow: Literal["drop", "pause"] = _in(
        "Audio",
        _CALL.inbox_overflow,
        "Beyond that: drop the oldest audio, or pause reading from the socket.",
    )

    coalesce_seconds: Annotated[float, _SECONDS] = _in(
        "Audio",
        0.001,
        "While 20 or more calls are live, look at their sockets at most once in this time. This"
        " saves CPU and delays each frame by at most this long. A handler that needs more than"
        " four turns of the event loop for an event (awaits that let other tasks run) continues"
        " after this long again. 0 to read data as soon as it arrives.",
        ge=0,
        le=0.01,
    )

    # Limits and deadlines

    header_timeout: _Seconds = _in(
        "Limits", 10.0, "Time to send a request's headers, and the same again for its body."
    )
    idle_timeout: _Seconds = _in(
        "Limits", 30.0, "How long an HTTP connection may stay open between requests."
    )
    max_idle_connections: _Count = _in(
        "Limits",
        1000,
        "Most connections that wait for a request. The one that has waited longest is closed for a"
        " new one. It is lower where few files may be open: a quarter of that limit.",
        ge=1,
    )
    max_idle_per_address: Annotated[_Count | None, Field(ge=1), _Switchable] = _in(
        "Limits",
        None,
        "The same for each client address, or each /64 of IPv6; off for no such limit. Those of"
        " trusted_proxies have none. Plivo opens many connections from one address at a time.",
    )
    max_header_bytes: _Bytes = _in(
        "Limits", 16_384, "Largest request line and headers together.", ge=1024
    )
    max_body_bytes: _Bytes = _in("Limits", 65_536, "Largest body of a webhook.", ge=1024)
    max_message_bytes: _Bytes = _in(
        "Limits",
        _CALL.max_message_size,
        "Largest WebSocket message (Plivo's limit is 64 KB).",
        ge=1024,
    )
    stream_messages_per_second: Annotated[float, _COUNT] = _in(
        "Limits",
        _CALL.messages_per_second,
        "Most messages that Plivo may send on one stream (two tracks bring 100 a second). Every"
        " WebSocket frame counts, and every part of a frame that arrives on its own. The stream is"
        " closed with 1008 if more come.",
        gt=0,
    )
    stream_bytes_per_second: Annotated[float, _BYTES] = _in(
        "Limits",
        _CALL.bytes_per_second,
        "The same in bytes (two tracks of audio/x-l16;rate=24000 bring 150,000 a second).",
        gt=0,
    )
    stream_burst_seconds: _Seconds = _in(
        "Limits",
        _CALL.burst_seconds,
        "How much of both may come at once, in seconds of it: what a network holds back while it"
        " stalls. Plivo holds back at most 40 s of audio.",
        le=3600,
    )
    start_timeout: _Seconds = _in(
        "Limits", 10.0, "Time to send a stream's start event after it has connected."
    )
    ping_interval: _Seconds = _in("Limits", 20.0, "Time between WebSocket pings.")
    dead_peer_timeout: _Seconds = _in(
        "Limits", 30.0, "Close a stream that sends nothing, not even a pong, for this long."
    )
    answer_timeout: _Seconds = _in(
        "Limits",
        2.0,
        "How long /answer waits for a handler's on_answer that is declared to return"
        " StreamOptions (Plivo waits 15 seconds).",
        le=10,
    )
    grace: _Seconds = _in("Limits", 5.0, "Time for a handler to finish after its call has ended.")
    reconnect_seconds: Annotated[float, Field(ge=0), _SECONDS] = _in(
        "Calls",
        5.0,
        "Time for which the handler of a stream whose connection was lost waits for Plivo to open"
        " it again; 0 to end at once.",
    )
    reconnect_playback: Literal["auto", "dropped", "kept"] = _in(
        "Calls",
        "auto",
        "What becomes of the audio that Plivo holds when a stream's connection is lost: dropped, or"
        " kept and played on. It decides from where the handler's audio continues. auto finds out"
        " if the stream is back within half a second, and else takes it as dropped.",
    )
    after_call_seconds: _Seconds = _in(
        "Limits",
        60.0,
        "Time for a handler's on_ended, once its call is over. A server that stops waits for it.",
    )

    # Life of the process

    lifespan_timeout: _Seconds = _in(
        "Shutdown",
        120.0,
        "Time for the handlers' lifespans, and what agents prepare, to open at start and to close"
        " at the end. Meanwhile /healthz answers 200 and /readyz 503.",
    )
    drain_delay: Annotated[float, _SECONDS] = _in(
        "Shutdown",
        0.0,
        "After SIGTERM, how long new calls are still accepted while /readyz already answers 503:"
        " the time that a load balancer needs to notice.",
        ge=0,
    )
    drain_timeout: Annotated[float, _SECONDS] = _in(
        "Shutdown", 3600.0, "After SIGTERM, how long live calls may continue.", ge=0
    )

    # Metrics

    metrics: Annotated[str, BeforeValidator(read_metrics)] = _in(
        "Metrics",
        "auto",
        "Where /metrics is served: shared (on the port of the calls), off, or HOST:PORT (on a port"
        " of its own, without TLS). auto is shared, but off if admin is on, which has /metrics, and"
        " for a server with TLS of its own on an address that may be public, unless metrics_token"
        " is set.",
    )
    metrics_token: SecretStr | None = _in(
        "Metrics",
        None,
        "Token that /metrics asks for, as Authorization: Bearer TOKEN. Prefer the environment to a"
        " flag.",
    )

    traces: bool = _in(
        "Metrics",
        False,
        "Whether to send OpenTelemetry traces of calls, by OTLP over HTTP, to the"
        " OTEL_EXPORTER_OTLP_ENDPOINT of the environment. Needs the extra otel.",
    )
    traces_personal_data: bool = _in(
        "Metrics",
        False,
        "Whether traces have phone numbers, the words of both sides, and what tools are asked and"
        " return.",
    )

    # Operating it

    admin: Annotated[str, BeforeValidator(read_admin)] = _in(
        "Operating",
        "auto",
        "Where operators see live calls and control them: off, the path of a Unix socket, or"
        " HOST:PORT (without TLS). auto is off in one process alone; with workers or Redis, it is"
        " the socket admin-PORT.sock in RUNTIME_DIRECTORY, in XDG_RUNTIME_DIR/mediaserver or in"
        " /tmp/mediaserver-UID, unless port is 0. /metrics is then there as well, and with"
        " metrics=auto not on the port of the calls.",
    )
    admin_token: SecretStr | None = _in(
        "Operating",
        None,
        "Token that the admin listener asks for, as Authorization: Bearer TOKEN; at least 16"
        " characters. An address that is not loopback needs one. The server's own user and root"
        " need none on a Unix socket. Prefer the environment to a flag.",
    )
    admin_personal_data: bool = _in(
        "Operating",
        False,
        "Whether the admin listener shows whole phone numbers, in place of their last four digits,"
        " words and keys in traces and past calls, and whether the audit log has the words of say.",
    )
    admin_listen_in: bool = _in(
        "Operating",
        False,
        "Whether operators may listen to calls: to both sides of live ones, and to past ones whose"
        " audio was kept. In many places callers must be told first.",
    )

    admin_follow_all: bool = _in(
        "Operating",
        False,
        "Whether calls are followed from their start, eight at once at most, so that a trace can be"
        " read from there within ten seconds. For development.",
    )

    # Several machines

    redis: Annotated[SecretStr | None, _Switchable] = _in(
        "Several machines",
        None,
        "Redis that joins the servers of several machines: redis://HOST:PORT/DB, rediss:// or"
        " unix://PATH. All of them need the same secret. Prefer the environment to a flag.",
    )
    redis_prefix: str = _in(
        "Several machines",
        "mediaserver",
        "How the names in Redis begin; servers with different prefixes do not know each other.",
    )
    node_address: Annotated[str | None, BeforeValidator(read_node_address)] = _in(
        "Several machines",
        None,
        "Where the other machines reach this one, as HOST:PORT or https://HOST:PORT: streams of"
        " calls that it has prepared are relayed there.",
    )

    # Records of calls

    records: Annotated[SecretStr | None, BeforeValidator(read_records)] = _in(
        "Call records",
        None,
        "Where calls are recorded: on (SQLite, calls.db in STATE_DIRECTORY, or in mediaserver below"
        " XDG_STATE_HOME or ~/.local/state), the path of a SQLite file, or"
        " postgresql://USER:PASSWORD@HOST/DATABASE. Needs the extra `records`. Off by default."
        " Prefer the environment to a flag.",
    )
    records_numbers: Literal["whole", "last4", "hash"] = _in(
        "Call records",
        "whole",
        "How phone numbers are recorded: as Plivo writes them, as their last four digits, or as a"
        " hash with the key `secret`, by which the calls of a number can be found.",
    )
    records_transcripts: bool = _in(
        "Call records",
        False,
        "Record the words of conversations: what was understood, and what the caller has heard.",
    )
    records_days: Annotated[_Days | None, _Switchable] = _in(
        "Call records", 90.0, "Days after which the record of a call is deleted; off to keep all."
    )
    records_prices: Annotated[Path | None, _Switchable] = _in(
        "Call records",
        None,
        "TOML file with the prices of services, by which the cost of each call is recorded:"
        " docs/records.md has its form. By default no cost is recorded.",
    )
    records_journal: Path | None = _in(
        "Call records",
        None,
        "Folder on the local disk for records that are not in the database yet. By default it is"
        " beside calls.db in the folder of `records` on, with the hash of the database's name.",
    )
    records_journal_megabytes: _Megabytes = _in(
        "Call records",
        256,
        "What the journals of the machine may take of the disk while the database is away: about"
        " 1 KB for a call and 0.3 for a turn. Beyond that, records are lost.",
        ge=1,
    )
    records_webhook: Annotated[str | None, BeforeValidator(read_webhook_url)] = _in(
        "Call records",
        None,
        "URL that is told of each call that has ended, by a signed POST with its record.",
    )
    records_webhook_secret: SecretStr | None = _in(
        "Call records",
        None,
        "Secret that signs those requests: whsec_ and base64, or any text of at least 16"
        " characters. Prefer the environment to a flag.",
    )

    # Captures

    capture: Annotated[Path | None, _Switchable] = _in(
        "Captures",
        None,
        "Folder in which the wire of calls is kept: each message with its time, both voices"
        " included, so that the call can be replayed. Off by default; callers may have to be told.",
    )
    capture_share: Annotated[float, Unit("SHARE")] = _in(
        "Captures",
        1.0,
        "Share of the calls that are captured, from 0 to 1. Beside them those are that `mediaserver"
        " capture NUMBER` asks for.",
        ge=0,
        le=1,
    )
    capture_redact: Annotated[tuple[Redacted, ...], NoDecode, BeforeValidator(split_list)] = _in(
        "Captures",
        (),
        f"What is not kept, separated by commas: {', '.join(REDACTABLE)}. Audio becomes silence,"
        " keys become 0.",
    )
    capture_megabytes: _Megabytes = _in(
        "Captures",
        1_000,
        "What all captures may take of the disk. The oldest are deleted to make room; if there are"
        " only those of live calls, these end, and the calls go on. A minute of a call in which"
        " both sides send mu-law takes about 1 MB.",
        ge=1,
    )

    # Logs

    log_level: Literal["debug", "info", "warning", "error", "critical"] = _in(
        "Logs", "info", "Lowest severity to log."
    )
    log_format: Literal["console", "json"] = _in(
        "Logs", "console", "Text for people, or one JSON object per line."
    )
    access_log: bool = _in("Logs", False, "Log each HTTP request.")
    block_warning: Annotated[_Seconds | None, _Switchable] = _in(
        "Logs", 0.5, "Report code that blocks the event loop for this long; off for never."
    )

    @field_validator("handler", mode="before")
    @classmethod
    def _split_handlers(cls, value: Any) -> Any:
        return split_list(value)

    @field_validator("log_level", "log_format", "inbox_overflow", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("path")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if not re.fullmatch(r"/[^\s?#]*", value):
            raise ValueError("must start with / and contain no space, query or fragment")
        return value

    @field_validator("on_end")
    @classmethod
    def _is_end(cls, value: str) -> str:
        if value == "hangup":
            return value
        try:
            return str(read_redirect(value))
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

    @field_validator("max_calls_route")
    @classmethod
    def _are_route_limits(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            condition, _, limit = each.rpartition("=")
            is_route = condition.startswith("/") or phone_key(condition) is not None
            if not is_route or not limit.isdecimal() or int(limit) < 1:
                raise ValueError(f"must be such as /sales=20 or +14155550100=5, not {each[:60]}")
        return value

    @field_validator("redis")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, _, rest = value.get_secret_value().partition("://")
        if scheme not in ("redis", "rediss", "unix") or not rest:
            raise ValueError("must be redis://HOST:PORT/DB, rediss://… or unix://PATH")
        if find_spec("redis") is None:
            raise ValueError("needs the package redis: pip install '.[redis]'")
        return value

    @field_validator("traces")
    @classmethod
    def _can_trace(cls, value: bool) -> bool:
        if value and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            raise ValueError("needs OpenTelemetry: pip install '.[otel]'")
        return value

    @field_validator("records")
    @classmethod
    def _can_be_recorded(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        needed = ["sqlalchemy", "alembic"]
        if value.get_secret_value().startswith("postgresql"):
            needed.append("psycopg")
        missing = [name for name in needed if find_spec(name) is None]
        if missing:
            raise ValueError(f"needs the package {missing[0]}: pip install '.[records]'")
        return value

    @field_validator("records_webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            text = value.get_secret_value()
            if len(text) < 16:
                raise ValueError("must have at least 16 characters")
            if text.startswith("whsec_"):
                try:
                    b64decode(text.removeprefix("whsec_"), validate=True)
                except ValueError:
                    raise ValueError("what follows whsec_ must be base64") from None
        return value

    @field_validator("redis_prefix")
    @classmethod
    def _is_prefix(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,100}", value):
            raise ValueError("must be letters, digits, and _ . : -")
        return value

    @field_validator("admin_token")
    @classmethod
    def _is_not_guessed(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters; leave it out for none")
        return value

    @field_validator("metrics_token", "admin_token")
    @classmethod
    def _is_a_bearer(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
            raise ValueError("must be printable ASCII without spaces; leave it out for none")
        return value

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
            raise ValueError("must not be blank; leave it out if you have no token")
        return value

    @field_validator("auth_id")
    @classmethod
    def _is_auth_id(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", value):
            raise ValueError("must be letters and digits, such as MA and 18 more")
        return value

    @field_validator("port", mode="before")
    @classmethod
    def _is_port(cls, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("tcp://"):
            raise ValueError(
                "is set by Kubernetes for a service named mediaserver;"
                " set enableServiceLinks: false in the pod"
            )
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ValueError("ssl_keyfile is set but ssl_certfile is not: TLS needs both")
        if self.max_message_bytes > self.stream_bytes_per_second * self.stream_burst_seconds:
            raise ValueError(
                f"stream_bytes_per_second ({self.stream_bytes_per_second:g}) times"
                f" stream_burst_seconds ({self.stream_burst_seconds:g}) must not be less than"
                f" max_message_bytes ({self.max_message_bytes}), the size of one message"
            )
        if self.dead_peer_timeout <= self.ping_interval:
            raise ValueError(
                f"dead_peer_timeout ({self.dead_peer_timeout:g} s) must be above ping_interval"
                f" ({self.ping_interval:g} s)"
            )
        if self.check_signatures and not self.auth_tokens:
            asked = [name for name in ("auth_id", "check_signatures") if self._is_set(name)]
            if asked:
                raise ValueError(
                    f"auth_token is not set, but {asked[0]} is: without a token, signatures cannot"
                    " be checked. Set MEDIASERVER_AUTH_TOKEN, or turn check_signatures off"
                )
        return self

    @model_validator(mode="after")
    def _can_be_operated(self) -> Self:
        if self.workers and self.metrics == "shared":
            raise ValueError(
                "metrics is shared, and there are workers: on the port of the calls, one of them"
                " would answer for itself. Set metrics to HOST:PORT, or read them at admin"
            )
        address = self.admin_address
        if isinstance(address, tuple):
            if self.admin_token is None and not is_loopback(address[0]):
                raise ValueError(
                    f"admin_token is not set, but admin is {self.admin}, which others may reach:"
                    " set MEDIASERVER_ADMIN_TOKEN, or use a Unix socket or 127.0.0.1"
                )
            if address == self.metrics_address and address[1]:
                raise ValueError(
                    f"admin and metrics are both {self.admin}: leave metrics out, since the admin"
                    " listener has /metrics"
                )
        elif address is None and self._is_set("admin_token"):
            raise ValueError(
                "admin_token is set, but admin is not: set it to the path of a Unix socket, or to"
                " an address such as 127.0.0.1:8001"
            )
        return self

    @model_validator(mode="after")
    def _can_join(self) -> Self:
        if self.redis is None:
            if self._is_set("node_address"):
                raise ValueError("node_address is set, but redis is not: there are no other nodes")
        elif self.secret_is_random:
            raise ValueError(
                "redis is set, but secret is not: all nodes need the same MEDIASERVER_SECRET"
            )
        return self

    @model_validator(mode="after")
    def _records_agree(self) -> Self:
        if self.records_webhook is not None:
            if self.records is None:
                raise ValueError(
                    "records_webhook is set, but records is not: webhooks are sent from there"
                )
            if self.records_webhook_secret is None:
                raise ValueError(
                    "records_webhook is set, but MEDIASERVER_RECORDS_WEBHOOK_SECRET is not"
                )
        if self.records_prices is not None and self.records is None:
            raise ValueError("records_prices is set, but records is not: costs are recorded there")
        if self.records is not None and self.records_numbers == "hash" and self.secret_is_random:
            raise ValueError(
                "records_numbers is hash, but secret is not set: MEDIASERVER_SECRET keys the hash"
            )
        return self

    @model_validator(mode="after")
    def _can_be_streamed(self) -> Self:
        self.stream_options.check()
        if self.resume_calls and not self.keep_call_alive:
            raise ValueError(
                "resume_calls is set, but keep_call_alive is off: a call that does not wait for the"
                " end of its stream cannot be resumed after it"
            )
        if self.status_callbacks and self.status_callback_url is not None:
            raise ValueError(
                "status_callbacks and status_callback_url are both set: Plivo reports to one URL"
            )
        return self

    def _is_set(self, name: str) -> bool:
        return name in self.model_fields_set and getattr(self, name) is not None

    @property
    def auth_tokens(self) -> tuple[str, ...]:
        """Every token whose signatures are accepted, in plain text."""
        own = (self.auth_token,) if self.auth_token is not None else ()
        return tuple(each.get_secret_value() for each in (*own, *self.more_auth_tokens))

    @property
    def stream_options(self) -> StreamOptions:
        """How calls are streamed, where a route says nothing else."""
        return StreamOptions(
            **{name: getattr(self, name) for name in STREAM_PARAMETERS if name != "content_type"},
            content_type=self.default_format,
            on_end=self.on_end,
        )

    @property
    def tls(self) -> bool:
        """Whether the server itself terminates TLS."""
        return self.ssl_certfile is not None

    @property
    def metrics_shared(self) -> bool:
        """Whether the port of the calls has /metrics."""
        if self.metrics != "auto":
            return self.metrics == "shared"
        if self.workers or self.admin_address is not None:
            return False
        return self.metrics_token is not None or not (self.tls and may_be_public(self.host))

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the metrics alone; None if they have none."""
        return split_address(self.metrics) if ":" in self.metrics else None

    @property
    def admin_address(self) -> Path | tuple[str, int] | None:
        """Where operators are served: a Unix socket, or host and port; None if nowhere."""
        if self.admin == "auto" and (self.workers or self.redis is not None) and self.port:
            return runtime_folder() / f"admin-{self.port}.sock"
        if self.admin in ("auto", "off"):
            return None
        return Path(self.admin) if "/" in self.admin else split_address(self.admin)

    @property
    def records_url(self) -> str | None:
        """The database of call records, as a URL for SQLAlchemy; None if calls are not recorded."""
        return None if self.records is None else self.records.get_secret_value()

    @property
    def records_folder(self) -> Path:
        """The folder for the journals of call records: one for each database."""
        if self.records_journal is not None:
            return self.records_journal
        key = database_key(self.records_url or "")
        return state_folder() / f"call-journals-{sha256(key.encode()).hexdigest()[:8]}"

    @property
    def route_limits(self) -> dict[str, int]:
        """The limits of single routes, by path or number."""
        limits = (each.rpartition("=") for each in self.max_calls_route)
        return {condition: int(limit) for condition, _, limit in limits}

    @property
    def secret_is_random(self) -> bool:
        """Whether this process generated its own `secret`."""
        return "secret" not in self.model_fields_set


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package around it
        return False
