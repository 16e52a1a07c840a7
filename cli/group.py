"""A group of commands that says of a name that is none of them which one may be meant."""

from typing import Any

import click


class Group(click.Group):
    """A group of commands."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command that the first argument names.

        Raises:
            click.UsageError: there is none of that name; the message has those that are like it, or all of a few.
        """
        name, known = args[0], self.list_commands(ctx)
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            from difflib import get_close_matches  # of no use to a command that there is

            near = [each for each in known if name in each.split("-")] or get_close_matches(name, known, 2)
            if near:
                hint = f"did you mean {' or '.join(near)}?"
            elif self.invoke_without_command:
                hint = f"it has {', '.join(known)}, and lists without one. {self.epilog or ''}"
            else:
                hint = f"`{ctx.command_path} --help` lists them"
            ctx.fail(f"No such command {name!r}; {hint.strip()}")
        return super().resolve_command(ctx, args)
