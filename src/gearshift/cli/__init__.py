"""The command `gearshift`: the group, and where each of its commands lives.

Apart from the commands so that the shell gets its prompt back fast: a command's module,
and with it engines and rich, is imported when that command runs and not before. The
short helps stand here for the same reason.
"""

from __future__ import annotations

from importlib import import_module

import click

from gearshift import __version__
from gearshift.cli.problems import did_you_mean

__all__ = ["main"]

# name: (module, attribute, short help)
_COMMANDS = {
    "run": ("gearshift.cli.run", "run", "Run a function over many inputs; write JSON lines."),
    "explain": (
        "gearshift.cli.explain",
        "explain",
        "Run a few inputs; say which engine, and why.",
    ),
    "compare": (
        "gearshift.cli.compare",
        "compare",
        "Run a function on every engine, and say which to use.",
    ),
    "download": (
        "gearshift.cli.download",
        "download",
        "Fetch files into a folder, each whole or not there.",
    ),
    "tour": ("gearshift.cli.tour", "tour", "Measure a book chapter's examples on this machine."),
    "turtle": (
        "gearshift.cli.turtle",
        "turtle",
        "Drive a turtle with the arrow keys, while numbers are factored.",
    ),
}


class _LateGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, without importing anything."""
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        """Import one command."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(
        self,
        ctx: click.Context,
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands in the help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the command that was probably meant.

        Raises:
            UsageError: There is no such command.
        """
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], _COMMANDS) or f" There is: {', '.join(_COMMANDS)}."
            raise click.UsageError(f"no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; Ctrl-C leaves with 130 as from every other tool."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(130)


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gearshift")
def main() -> None:
    """Run one function over many inputs, on the fastest concurrency model."""
