"""What C{openclaw onboard} is to set up, by its options and the answers to its questions."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

import attrs
import click

from openclaw.cli.output import State
from openclaw.config.checks import ADDRESS, HTTP_URL
from openclaw.config.gateway import DEFAULT_PORT
from openclaw.errors import ConfigError, OpenClawError

LOCAL, CUSTOM, SKIP = "local", "custom-api-key", "skip"

DEFAULT_WEIGHTS = "smollm2-135m"
"""The embedded model where the configuration names none."""

RISK = (
    "Whoever has the gateway's token can do everything that its agents can. Keep the token to yourself, and do not\n"
    "open the port beyond this machine before you have read the security model in the documentation."
)


@attrs.frozen
class ModelWish:
    """
    The model of the agents; what is C{None} stays as it is.

    @ivar choice: L{LOCAL}, L{CUSTOM} or L{SKIP} for no model; C{None} until somebody chose.
    @ivar base_url: of the custom provider.
    @ivar provider_id: made of the URL if it is not given.
    @ivar api_key: a key, or C{${NAME}} for one of the environment.
    """

    choice: str | None = None
    base_url: str | None = None
    model_id: str | None = None
    provider_id: str | None = None
    api_key: str | None = attrs.field(default=None, repr=False)

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.provider_id or provider_name(self.base_url or "")


@attrs.frozen
class GatewayWish:
    """Where the gateway listens, and to whom; what is C{None} stays as it is."""

    port: int | None = None
    bind: str | None = None
    custom_host: str | None = None
    auth: str | None = None
    token: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Wishes:
    """What is to be set up."""

    model: ModelWish
    gateway: GatewayWish
    workspace: str | None = None


def provider_name(base_url: str) -> str:
    """A name for the provider at a URL: C{custom-127-0-0-1-8080}."""
    parts = urlsplit(base_url)
    text = f"{parts.hostname or 'server'}{f'-{parts.port}' if parts.port else ''}"
    return f"custom-{re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')}"


def check(wishes: Wishes) -> None:
    """See whether everything is there, and fits; an L{OpenClawError} names the option at fault."""
    model, gateway = wishes.model, wishes.gateway
    if model.choice == CUSTOM:
        if not model.base_url:
            raise OpenClawError("--custom-base-url is needed: the server's URL, such as http://127.0.0.1:8080/v1")
        fault = HTTP_URL.fault(model.base_url)
        if fault is not None:
            raise OpenClawError(f"--custom-base-url: {fault}")
        if not (model.model_id or "").strip():
            raise OpenClawError("--custom-model-id is needed: the model's name at that server")
    elif model.base_url or model.model_id or model.api_key or model.provider_id:
        raise OpenClawError(f"--custom-... options go with --auth-choice {CUSTOM}")
    if (gateway.bind == "custom") != (gateway.custom_host is not None):
        raise OpenClawError("--gateway-bind custom and --gateway-custom-host go together: the address to listen at")
    fault = ADDRESS.fault(gateway.custom_host) if gateway.custom_host is not None else None
    if fault is not None:
        raise OpenClawError(f"--gateway-custom-host: {fault}")
    if gateway.auth == "password" and not gateway.password and not os.environ.get("OPENCLAW_GATEWAY_PASSWORD"):
        raise OpenClawError("--gateway-auth password needs --gateway-password")
    if gateway.token and gateway.password and gateway.auth is None:
        raise OpenClawError("--gateway-token and --gateway-password: say which one counts with --gateway-auth")


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
