"""C{openclaw onboard}: the first configuration, or a further provider, step by step or in one go."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any

import attrs
import click

from openclaw.cli.config.editing import apply, outcome, tell
from openclaw.cli.options import gathered
from openclaw.cli.output import State, json_option, print_json
from openclaw.cli.setup.wishes import (
    CUSTOM,
    DEFAULT_WEIGHTS,
    LOCAL,
    OPENAI,
    SKIP,
    GatewayWish,
    ModelWish,
    Wishes,
    ask,
    check,
)
from openclaw.errors import OpenClawError

if TYPE_CHECKING:
    from openclaw.config.edit import Edit


def _compatibility(_: click.Context, __: click.Parameter, value: str) -> str:
    if value == "anthropic":
        raise OpenClawError(
            "--custom-compatibility anthropic is not available yet; most servers have an OpenAI-compatible URL too"
        )
    return value


@click.command()
@click.option("--non-interactive", is_flag=True, help="Ask nothing; needs --accept-risk.")
@click.option("--accept-risk", is_flag=True, help="Agents can do what their tools allow: you know that.")
@click.option("--mode", type=click.Choice(["local"]), default="local", hidden=True, expose_value=False)
@click.option("--auth-choice", "choice", type=click.Choice([LOCAL, OPENAI, CUSTOM, SKIP]), help="Which model.")
@click.option("--custom-base-url", "base_url", metavar="URL", help="An OpenAI-compatible server, with its /v1.")
@click.option("--custom-model-id", "model_id", metavar="ID", help="The model's name at that server.")
@click.option("--custom-provider-id", "provider_id", metavar="ID", help="What to call that server.")
@click.option("--custom-api-key", "api_key", metavar="KEY", help="Its key, or '${NAME}' for an environment variable.")
@click.option(
    "--custom-compatibility",
    type=click.Choice(["openai", "anthropic"]),
    default="openai",
    callback=_compatibility,
    expose_value=False,
    help="What it speaks.",
)
@click.option("--gateway-port", "port", type=click.IntRange(1, 65535), help="TCP port of the gateway.")
@click.option(
    "--gateway-bind", "bind", type=click.Choice(["loopback", "lan", "auto", "custom"]), help="Who can connect."
)
@click.option("--gateway-custom-host", "custom_host", metavar="ADDRESS", help="The address of --gateway-bind custom.")
@click.option("--gateway-auth", "auth", type=click.Choice(["token", "password"]), help="How clients prove themselves.")
@click.option("--gateway-token", "token", metavar="TOKEN", help="The token; one is made up if there is none.")
@click.option("--gateway-password", "password", metavar="PASSWORD", help="The password.")
@click.option("--workspace", metavar="PATH", help="Folder of the agents' files.")
@click.option("--skip-health", is_flag=True, help="Do not ask whether the model server answers.")
@click.option("--install-daemon", is_flag=True, help="Install the systemd service too.")
@click.option(
    "--skip-skills",
    "--skip-channels",
    "--skip-ui",
    "--skip-search",
    "_ignored",
    is_flag=True,
    hidden=True,
    expose_value=False,
)
@gathered("model", ModelWish)
@gathered("gateway", GatewayWish)
@json_option
@click.pass_context
def onboard(
    ctx: click.Context,
    /,
    non_interactive: bool,
    accept_risk: bool,
    model: ModelWish,
    gateway: GatewayWish,
    workspace: str | None,
    skip_health: bool,
    install_daemon: bool,
) -> None:
    """Set up a model and the gateway; on an existing configuration only what is asked for changes."""
    from openclaw.cli.setup.changes import with_wishes

    state, wishes = ctx.ensure_object(State), Wishes(model, gateway, workspace)
    if non_interactive:
        if not accept_risk:
            raise OpenClawError("--non-interactive needs --accept-risk: agents can do what their tools allow")
        choice = model.choice or (CUSTOM if model.base_url else SKIP)
        wishes = attrs.evolve(wishes, model=attrs.evolve(model, choice=choice))
    else:
        if state.as_json or not sys.stdin.isatty():
            raise OpenClawError("nobody is there to be asked; add --non-interactive --accept-risk, see --help")
        wishes = ask(state, wishes)
    wishes = attrs.evolve(wishes, model=wishes.model.settled())
    check(wishes)
    # a person who answers every question with Enter wants nothing changed of what is there
    keeps = not non_interactive and wishes.are_none
    edit = apply(state, lambda document: document if keeps and document else with_wishes(document, wishes, os.environ))
    trouble = None if skip_health or wishes.model.choice != CUSTOM else provider_trouble(edit, wishes.model.provider)
    if not state.as_json:
        tell(edit, "set up")
        if trouble is not None:
            click.echo(f"warning: {trouble}", err=True)
    if install_daemon:
        _install(ctx, quiet=state.as_json)
    following = state.advice(next_command(wishes.model, install_daemon=install_daemon))
    if state.as_json:
        # at the end, as one that fails prints its envelope and nothing else
        health = {"checked": not skip_health and wishes.model.choice == CUSTOM, "problem": trouble}
        told = {"installDaemon": install_daemon, "health": health, "next": following}
        print_json({**_report(edit, wishes.model), **told, **outcome(edit)})
    else:
        click.echo(f"Next: {following}")


def provider_trouble(edit: Edit, provider_id: str) -> str | None:
    """What is wrong with a provider's server as far as one request tells; C{None} if it answers."""
    from openclaw.cli.setup.provider_probe import probe  # its HTTP, which nothing else here needs

    provider = edit.config.models.providers[provider_id]
    key = provider.api_key
    return probe(provider.base_url, key.reveal() if key is not None and key.usable else None)


def next_command(model: ModelWish, *, install_daemon: bool) -> str:
    """What to type next."""
    if model.choice == LOCAL:
        pull = f"openclaw models pull {DEFAULT_WEIGHTS}"
        return f"{pull}, then openclaw gateway start" if install_daemon else "openclaw quickstart"
    return "openclaw gateway start" if install_daemon else "openclaw gateway run"


def _install(ctx: click.Context, *, quiet: bool) -> None:
    from openclaw.cli.gateway.install import install

    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        ctx.invoke(install)


def _report(edit: Edit, wish: ModelWish) -> dict[str, Any]:
    model = edit.config.agents.defaults.model
    gateway = edit.config.gateway
    return {
        "ok": True,
        "mode": "local",
        "authChoice": wish.choice,
        "providerId": wish.provider if wish.choice == CUSTOM else None,
        "model": model.primary if model is not None else None,
        "gateway": {"port": gateway.port, "bind": gateway.bind, "authMode": gateway.auth.mode},
    }
