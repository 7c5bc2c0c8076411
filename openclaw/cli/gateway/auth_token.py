"""C{openclaw gateway auth-token}: the credential that clients need."""

from __future__ import annotations

import click

from openclaw.cli.output import State, json_option
from openclaw.config.auth_mode import effective_auth
from openclaw.errors import StartError


@click.command("auth-token")
@click.option("--show", is_flag=True, help="Print the secret itself, and nothing else.")
@json_option
@click.pass_obj
def auth_token(state: State, show: bool) -> None:
    """Show the credential that clients need."""
    loaded = state.load()
    auth = effective_auth(loaded.config, loaded.environ)
    if auth.secret is None:
        raise StartError('gateway.auth.mode is "none": there is no secret')
    if show:
        state.show({"ok": True, "mode": auth.mode, auth.mode: auth.secret.reveal()}, auth.secret.reveal())
    else:
        show_it = state.advice("openclaw gateway auth-token --show")
        state.show({"ok": True, "mode": auth.mode}, f"mode {auth.mode}, secret hidden; print it with: {show_it}")
