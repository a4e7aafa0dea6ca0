"""A group whose commands are imported on first use: `--help` must not wait for a database library."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from checker.lean_start import WITH_LATE_PATTERNS, load_msgspec, patterns_when_used

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_WHOLE = 1000
"""Characters of a sentence, which are never cut."""


class FullGroup(click.Group):
    """A group whose help has the first sentence of every command as a whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands for `--help`."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        shown = [(name, one.get_short_help_str(_WHOLE)) for name, one in commands if one is not None and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(shown)


class LazyGroup(click.Group):
    """``lazy`` has for each name the place of the command, ``module`` or ``module:attribute``, and its description.

    The attribute is ``command`` if none is given. ``aliases`` has other names that people try, and what they mean;
    help does not list them.
    """

    def __init__(
        self,
        *arguments: Any,
        lazy: Mapping[str, tuple[str, str]],
        aliases: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._lazy, self._aliases = lazy, aliases or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the listing."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command with this name, imported."""
        name = self._aliases.get(name, name)
        if name not in self._lazy:
            return None
        module, _, attribute = self._lazy[name][0].partition(":")
        with patterns_when_used(WITH_LATE_PATTERNS):
            load_msgspec()
            command = getattr(import_module(module), attribute or "command")
        assert isinstance(command, click.Command)  # noqa: S101 # for the type checker
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names; a name that does not exist fails with the most similar one."""
        known = self.list_commands(ctx)
        if (
            args
            and not args[0].startswith("-")
            and self.get_command(ctx, args[0]) is None
            and not ctx.resilient_parsing
        ):
            from difflib import get_close_matches

            close = get_close_matches(args[0], known, n=1)
            ctx.fail(f"No such command '{args[0]}'.{f' Did you mean {close[0]!r}?' if close else ''}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options for completion in a shell, without importing the commands."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=words) for name, (_, words) in self._lazy.items()]
        return [
            *(one for one in found if one.value.startswith(incomplete)),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands for `--help`, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in self._lazy.items()])
