"""What C{openclaw onboard} is to set up, by its options and the answers to its questions."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

import attrs
import click

from openclaw.cli.output import State
from openclaw.config.checks import ADDRESS, HTTP_URL
from openclaw.config.gateway import DEFAULT_PORT
from openclaw.errors import ConfigError, OpenClawError
from openclaw.redact import shows_credential

LOCAL, OPENAI, CUSTOM, SKIP = "local", "openai", "custom-api-key", "skip"

OPENAI_URL = "https://api.openai.com/v1"
"""Where OpenAI's own models are."""

OPENAI_KEY = "${OPENAI_API_KEY}"
"""The key of OpenAI where none is given: that of the environment."""

_ANSWERS = {"custom": CUSTOM, "openai-api-key": OPENAI, "embedded": LOCAL, "none": SKIP, "keep": SKIP}
"""Other words for a choice."""

_KEY = re.compile(r"(?:sk|gsk|hf|nvapi)[-_]\w|Bearer\s", re.IGNORECASE)
"""What a key begins with, and no model's name."""

_NAMES_LIKE_KEYS = re.compile(r"(?:xai|pplx)-[a-z0-9]+(?:[-.][a-z0-9]+)+")
"""Names of models that begin as keys do."""

DEFAULT_WEIGHTS = "smollm2-135m"
"""The embedded model where the configuration names none."""

NO_KEY = "this looks like an API key, and not like a name; it was not kept"
"""What is said of a key in the place of a name."""

RISK = (
    "Whoever has the gateway's token can do everything that its agents can. Keep the token to yourself, and do not\n"
    "open the port beyond this machine before you have read the security model in the documentation."
)


@attrs.frozen
class ModelWish:
    """
    The model of the agents; what is C{None} stays as it is.

    @ivar choice: L{LOCAL}, L{OPENAI}, L{CUSTOM} or L{SKIP} for no model; C{None} until somebody chose.
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

    def settled(self) -> ModelWish:
        """The same with L{OPENAI} as the custom server that it is."""
        if self.choice != OPENAI:
            return self
        return attrs.evolve(
            self,
            choice=CUSTOM,
            base_url=self.base_url or OPENAI_URL,
            provider_id=self.provider_id or "openai",
            api_key=OPENAI_KEY if self.api_key is None else self.api_key,
        )


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

    @property
    def are_none(self) -> bool:
        """Whether nothing is to be changed."""
        return self.model.choice == SKIP and self.gateway == GatewayWish() and self.workspace is None


def looks_like_key(text: str) -> bool:
    """Whether what was given for a name is an API key by its looks."""
    return bool(_KEY.match(text)) or (shows_credential(text) and not _NAMES_LIKE_KEYS.fullmatch(text))


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
        for option, name in (("model", model.model_id), ("provider", model.provider_id)):
            if name is not None and (looks_like_key(name.strip()) or name.strip() == model.api_key):
                raise OpenClawError(f"--custom-{option}-id: {NO_KEY}")
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
    exists = state.paths.config_path.exists()
    model = attrs.evolve(model, choice=model.choice or _choice(model, exists=exists))
    if model.choice in (CUSTOM, OPENAI):
        model = _provider(model)
    if gateway.port is None:
        configured = _port(state)
        port = click.prompt("Port of the gateway", type=click.IntRange(1, 65535), default=configured)
        if port != configured or not exists:
            gateway = attrs.evolve(gateway, port=port)
    return attrs.evolve(wishes, model=model, gateway=gateway)


def _choice(model: ModelWish, *, exists: bool) -> str:
    """Ask which model; where there is a configuration it stays as it is unless something else is typed."""
    nothing = "keep what is configured" if exists else "none yet"
    text = (
        f"Model: {LOCAL} (embedded, nothing to sign up for), {OPENAI}, {CUSTOM} (another OpenAI-compatible server), "
        f"or {SKIP} ({nothing})"
    )
    default = CUSTOM if model.base_url else SKIP if exists else LOCAL
    return str(click.prompt(text, default=default, value_proc=_choice_of))


def _choice_of(text: str) -> str:
    word = text.strip().lower()
    word = _ANSWERS.get(word, word)
    if word not in (LOCAL, OPENAI, CUSTOM, SKIP):
        raise click.UsageError(f"type one of {LOCAL}, {OPENAI}, {CUSTOM} and {SKIP}")
    return word


def _provider(model: ModelWish) -> ModelWish:
    """Ask for what is missing of a server."""
    is_openai = model.choice == OPENAI
    base_url = model.base_url or (
        OPENAI_URL if is_openai else click.prompt("URL of the server, with its /v1", value_proc=_url)
    )
    model = attrs.evolve(model, base_url=base_url)
    if model.api_key is None:
        empty = f"empty for {OPENAI_KEY}" if is_openai else "empty for none"
        key = click.prompt(
            f"Its API key (hidden; ${{NAME}} takes it from the environment; {empty})",
            default="",
            hide_input=True,
            show_default=False,
        )
        model = attrs.evolve(model, api_key=key.strip() or None)
    if not model.model_id:
        model = attrs.evolve(model, model_id=click.prompt("Name of the model at that server", value_proc=_name))
    if model.provider_id is None and not is_openai:
        name = click.prompt("What to call the server", default=provider_name(base_url), value_proc=_name)
        model = attrs.evolve(model, provider_id=name)
    return model


def _name(text: str) -> str:
    if looks_like_key(text.strip()):
        raise click.UsageError(NO_KEY)
    return text.strip()


def _url(text: str) -> str:
    url = OPENAI_URL if text.strip().lower() == OPENAI else text.strip()
    fault = HTTP_URL.fault(url)
    if fault is not None:
        raise click.UsageError(fault)
    return url


def _port(state: State) -> int:
    """The port that is configured."""
    try:
        return state.load().config.gateway.port
    except ConfigError:
        return DEFAULT_PORT
