"""The questions of C{openclaw onboard}; what the command line says already is not asked."""

from __future__ import annotations

from typing import Any

import attrs
import click

from openclaw.cli.output import State
from openclaw.cli.setup.onboard import CUSTOM, LOCAL, SKIP, Wishes, provider_name
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
    answers: dict[str, Any] = {}
    choice = wishes.choice or click.prompt(
        f"Model: {LOCAL} (embedded, nothing to sign up for), {CUSTOM} (an OpenAI-compatible server), or {SKIP}",
        type=click.Choice([LOCAL, CUSTOM, SKIP]),
        default=CUSTOM if wishes.base_url else LOCAL,
        show_choices=False,
    )
    if choice == CUSTOM:
        answers |= _provider(wishes)
    if wishes.port is None:
        answers["port"] = click.prompt("Port of the gateway", type=click.IntRange(1, 65535), default=_port(state))
    return attrs.evolve(wishes, choice=choice, **answers)


def _provider(wishes: Wishes) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    base_url = wishes.base_url or click.prompt("URL of the server, with its /v1", value_proc=_url)
    answers["base_url"] = base_url
    if wishes.api_key is None:
        key = click.prompt(
            "Its API key (hidden; ${NAME} takes it from the environment; empty for none)",
            default="",
            hide_input=True,
            show_default=False,
        )
        answers["api_key"] = key.strip() or None
    if not wishes.model_id:
        answers["model_id"] = click.prompt("Name of the model at that server").strip()
    if wishes.provider_id is None:
        answers["provider_id"] = click.prompt("What to call the server", default=provider_name(base_url)).strip()
    return answers


def _url(text: str) -> str:
    from openclaw.config.checks import HttpUrl

    fault = HttpUrl().fault(text.strip())
    if fault is not None:
        raise click.UsageError(fault)
    return text.strip()


def _port(state: State) -> int:
    """The port that is configured."""
    from openclaw.config.gateway import DEFAULT_PORT

    try:
        return state.load().config.gateway.port
    except ConfigError:
        return DEFAULT_PORT
