"""C{openclaw gateway auth-token}: the credential that clients need."""

from __future__ import annotations

import click

from openclaw.cli.output import State, json_option, print_json
from openclaw.errors import StartError


@click.command("auth-token")
@click.option("--show", is_flag=True, help="Print the secret itself, and nothing else.")
@json_option
@click.pass_obj
def auth_token(state: State, show: bool, as_json: bool) -> None:
    """Show the credential that clients need."""
    from openclaw.config.auth_mode import effective_auth

    loaded = state.load()
    auth = effective_auth(loaded.config, loaded.environ)
    if auth.secret is None:
        raise StartError('gateway.auth.mode is "none": there is no secret')
    if as_json:
        told = {auth.mode: auth.secret.reveal()} if show else {}
        print_json({"ok": True, "mode": auth.mode, **told})
    elif show:
        click.echo(auth.secret.reveal())
    else:
        show_it = state.advice("openclaw gateway auth-token --show")
        click.echo(f"mode {auth.mode}, secret hidden; print it with: {show_it}")
