"""The commands: where each is defined, and what the list of commands says of it.

Only the command that is chosen is imported, so that ``--help``, ``version`` and completion wait for
no server, no audio and no HTTP client.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from mediaserver.interruption import quiet_interruption


class ListedCommand(NamedTuple):
    """A command that is imported when it is chosen."""

    module: str
    """The module below `mediaserver.cli` that defines it."""
    function: str
    """Its function; or a Typer application, if it has commands of its own."""
    summary: str
    """The first paragraph of its help."""

    def load(self, name: str) -> Any:
        """Import it, and return it as Typer runs it."""
        with quiet_interruption():
            found = getattr(import_module(f"mediaserver.cli.{self.module}"), self.function)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name)(found)
        return typer.main.get_command(alone)


# In the order in which they are listed.
COMMANDS: Final[Mapping[str, ListedCommand]] = {
    "serve": ListedCommand(
        "serving",
        "serve_command",
        "Run the server, which takes webhooks and audio streams on one port.",
    ),
    "dev": ListedCommand(
        "dev",
        "dev_command",
        "Talk to an agent from the browser, see what happens in each call, and change its code.",
    ),
    "doctor": ListedCommand(
        "doctor",
        "doctor_command",
        "Find out whether calls can reach the server, and say how to mend what is wrong.",
    ),
    "check-service": ListedCommand(
        "check_service",
        "check_service_command",
        "Use each service of a provider once, with your key, and print how long each stage took.",
    ),
    "reload": ListedCommand(
        "operating",
        "reload_command",
        "Bring new code, certificates and settings to a running server with workers.",
    ),
    "trace": ListedCommand(
        "tracing",
        "trace_command",
        "Follow a live call: what is received, sent and decided, until it ends.",
    ),
    "capture": ListedCommand(
        "capturing",
        "capture_command",
        "Have the next call from or to a number captured, on this machine.",
    ),
    "replay": ListedCommand(
        "replaying",
        "replay_command",
        "Play the carrier's side of a captured call against a handler, and compare the two calls.",
    ),
    "calls": ListedCommand(
        "calls", "calls_app", "List, show, export and delete the records of calls."
    ),
    "call": ListedCommand(
        "call",
        "call_command",
        "Call a server that speaks Plivo's stream protocol, and report what the caller heard.",
    ),
    "load": ListedCommand(
        "load",
        "load_command",
        "Make many calls at the same time, and report what the callers heard.",
    ),
    "dial": ListedCommand(
        "account",
        "dial_command",
        "Call people, run a handler when they answer, and report how each call went.",
    ),
    "setup-number": ListedCommand(
        "account",
        "setup_number_command",
        "Have this server answer the calls to a number, and print what was changed at Plivo.",
    ),
    "sandbox": ListedCommand(
        "sandbox",
        "sandbox_command",
        "Run a local Plivo: REST API, calls, streams, callbacks and signatures, without an"
        " account.",
    ),
    "demo": ListedCommand(
        "demo",
        "demo_command",
        "Hold a spoken conversation on this machine, without an account or a network.",
    ),
    "version": ListedCommand("demo", "version_command", "Print the version."),
}


class CommandGroup(TyperGroup):
    """The ``mediaserver`` command, which imports a command of `COMMANDS` when it is chosen."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        listed = {name: TyperCommand(name, help=each.summary) for name, each in COMMANDS.items()}
        self.commands = {**listed, **self.commands}

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the summary of each command, in full."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.help) for name, each in self.commands.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name, and what is left of them."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and name in COMMANDS:
            command = COMMANDS[name].load(name)
        return name, command, rest
