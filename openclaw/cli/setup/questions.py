"""The questions of C{openclaw onboard}; what the command line says already is not asked."""

from __future__ import annotations

from typing import Any

import attrs
import click

from openclaw.cli.output import State
from openclaw.cli.setup.wishes import CUSTOM, LOCAL, SKIP, ModelWish, Wishes, provider_name
from openclaw.config.checks import HTTP_URL
from openclaw.config.gateway import DEFAULT_PORT
from openclaw.errors import ConfigError, OpenClawError

RISK = (
    "Whoever has the gateway's token can do everything that its agents can. Keep the token to yourself, and do not\n"
    "open the port beyond this machine before you have read the security model in the documentation."
)


def ask(state: State, wishes: Wishes) -> Wishes:
    """
    Ask for what is missing.

    @return: the wishes with the answers.
    @raise OpenClawError: if the person does not want to go on.
    @raise click.Abort: if the person ends it; nothing was written then.
    """
    click.echo(RISK)
    if not click.confirm("Go on?", default=True):
        raise OpenClawError("nothing was changed")
    model, gateway = wishes.model, wishes.gateway
    choice = model.choice or click.prompt(
        f"Model: {LOCAL} (embedded, nothing to sign up for), {CUSTOM} (an OpenAI-compatible server), or {SKIP}",
        type=click.Choice([LOCAL, CUSTOM, SKIP]),
        default=CUSTOM if model.base_url else LOCAL,
        show_choices=False,
    )
    model = attrs.evolve(model, choice=choice, **(_provider(model) if choice == CUSTOM else {}))
    if gateway.port is None:
        port = click.prompt("Port of the gateway", type=click.IntRange(1, 65535), default=_port(state))
        gateway = attrs.evolve(gateway, port=port)
    return attrs.evolve(wishes, model=model, gateway=gateway)


def _provider(model: ModelWish) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    base_url = model.base_url or click.prompt("URL of the server, with its /v1", value_proc=_url)
    answers["base_url"] = base_url
    if model.api_key is None:
        key = click.prompt(
            "Its API key (hidden; ${NAME} takes it from the environment; empty for none)",
            default="",
            hide_input=True,
            show_default=False,
        )
        answers["api_key"] = key.strip() or None
    if not model.model_id:
        answers["model_id"] = click.prompt("Name of the model at that server").strip()
    if model.provider_id is None:
        answers["provider_id"] = click.prompt("What to call the server", default=provider_name(base_url)).strip()
    return answers


def _url(text: str) -> str:
    fault = HTTP_URL.fault(text.strip())
    if fault is not None:
        raise click.UsageError(fault)
    return text.strip()


def _port(state: State) -> int:
    """The port that is configured."""
    try:
        return state.load().config.gateway.port
    except ConfigError:
        return DEFAULT_PORT
