"""The ``mediaserver`` command.

A command prints its result to stdout, and everything else to stderr. Exit status: 0 if it worked, 1
if it failed, 2 if its arguments are wrong, 130 if it was interrupted.
"""

from mediaserver.cli import account, calling, demo, sandbox, serving
from mediaserver.cli.application import app


__all__ = ["app", "main"]

# In the order in which they are listed.
app.command("serve")(serving.serve_command)
app.command("call")(calling.call_command)
app.command("load")(calling.load_command)
app.command("dial")(account.dial_command)
app.command("setup-number")(account.setup_number_command)
app.command("sandbox")(sandbox.sandbox_command)
app.command("demo")(demo.demo_command)
app.command("version")(demo.version_command)


def main() -> None:
    """Run the command that the arguments name."""
    app()
