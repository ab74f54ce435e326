"""The ``mediaserver`` command.

What a command is for goes to stdout, everything else to stderr. Exit status: 0 if it worked, 1 if
it did not, 2 if it was not asked for properly, 130 if it was interrupted.
"""

from mediaserver.cli import account, calling, demo, sandbox, serving
from mediaserver.cli.application import app


__all__ = ["app", "main"]

# In the order in which they are listed.
app.command("serve")(serving.serve)
app.command("call")(calling.call)
app.command("load")(calling.load)
app.command("dial")(account.dial)
app.command("setup-number")(account.setup_number)
app.command("sandbox")(sandbox.sandbox)
app.command("demo")(demo.demo)
app.command("version")(demo.version)


def main() -> None:
    """Run the command that the arguments name."""
    app()
