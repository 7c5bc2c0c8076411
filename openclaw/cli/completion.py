"""C{openclaw completion}: what makes a shell complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

HOW = {
    "bash": 'eval "$(openclaw completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(openclaw completion zsh)"   # in ~/.zshrc',
    "fish": "openclaw completion fish | source   # in ~/.config/fish/config.fish",
}
"""How each shell is made to use it."""


@click.command(epilog="\b\n" + "\n".join(HOW.values()))
@click.argument("shell", type=click.Choice(sorted(HOW)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    complete = get_completion_class(shell)
    assert complete is not None
    root = ctx.find_root()
    # not source(): that starts a shell to look at its version and writes a note of its own
    script = complete(root.command, {}, "openclaw", "_OPENCLAW_COMPLETE")
    click.echo(script.source_template % script.source_vars())
