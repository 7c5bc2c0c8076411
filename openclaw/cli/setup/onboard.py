"""C{openclaw onboard}: the first configuration, or a further provider, step by step or in one go."""

from __future__ import annotations

import os
import re
import secrets
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs
import click

from openclaw.cli.output import State, json_option, print_json
from openclaw.errors import OpenClawError

if TYPE_CHECKING:
    from openclaw.config.edit import Edit

LOCAL, CUSTOM, SKIP = "local", "custom-api-key", "skip"

DEFAULT_WEIGHTS = "smollm2-135m"
"""The embedded model where the configuration names none."""


@attrs.frozen
class Wishes:
    """
    What is to be set up; what is C{None} stays as it is.

    @ivar choice: L{LOCAL}, L{CUSTOM} or L{SKIP} for no model.
    @ivar base_url: of the custom provider.
    @ivar api_key: a key, or C{${NAME}} for one of the environment.
    @ivar provider_id: made of the URL if it is not given.
    """

    choice: str
    base_url: str | None = None
    model_id: str | None = None
    provider_id: str | None = None
    api_key: str | None = attrs.field(default=None, repr=False)
    port: int | None = None
    bind: str | None = None
    custom_host: str | None = None
    auth: str | None = None
    token: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)
    workspace: str | None = None

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.provider_id or provider_name(self.base_url or "")


def _compatibility(_: click.Context, __: click.Parameter, value: str) -> str:
    if value == "anthropic":
        raise OpenClawError(
            "--custom-compatibility anthropic is not available yet; most servers have an OpenAI-compatible URL too"
        )
    return value


@click.command()
@click.option("--non-interactive", is_flag=True, help="Ask nothing; needs --accept-risk.")
@click.option("--accept-risk", is_flag=True, help="Agents can do what their tools allow: you know that.")
@click.option("--mode", type=click.Choice(["local"]), default="local", hidden=True)
@click.option("--auth-choice", "choice", type=click.Choice([LOCAL, CUSTOM, SKIP]), help="Which model.")
@click.option("--custom-base-url", "base_url", metavar="URL", help="An OpenAI-compatible server, with its /v1.")
@click.option("--custom-model-id", "model_id", metavar="ID", help="The model's name at that server.")
@click.option("--custom-provider-id", "provider_id", metavar="ID", help="What to call that server.")
@click.option("--custom-api-key", "api_key", metavar="KEY", help="Its key, or '${NAME}' for an environment variable.")
@click.option(
    "--custom-compatibility",
    type=click.Choice(["openai", "anthropic"]),
    default="openai",
    callback=_compatibility,
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
@click.option("--skip-skills", "--skip-channels", "--skip-ui", "--skip-search", "_ignored", is_flag=True, hidden=True)
@json_option
@click.pass_context
def onboard(
    ctx: click.Context,
    /,
    non_interactive: bool,
    accept_risk: bool,
    skip_health: bool,
    install_daemon: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Set up a model and the gateway; on an existing configuration only what is asked for changes."""
    from openclaw.cli.config.editing import apply, tell

    state = ctx.ensure_object(State)
    wishes = Wishes(**{name: options[name] for name in _names() if name in options and name != "choice"}, choice="")
    wishes = attrs.evolve(wishes, choice=options["choice"] or "")
    if non_interactive:
        if not accept_risk:
            raise OpenClawError("--non-interactive needs --accept-risk: agents can do what their tools allow")
        wishes = attrs.evolve(wishes, choice=wishes.choice or (CUSTOM if wishes.base_url else SKIP))
    else:
        if as_json or not sys.stdin.isatty():
            raise OpenClawError("nobody is there to be asked; add --non-interactive --accept-risk, see --help")
        from openclaw.cli.setup.onboard_questions import ask

        wishes = ask(state, wishes)
    check(wishes)
    edit = apply(state, lambda document: with_wishes(document, wishes, os.environ))
    trouble = None if skip_health or wishes.choice != CUSTOM else provider_trouble(edit, wishes.provider)
    if not as_json:
        tell(edit, "set up")
        if trouble is not None:
            click.echo(f"warning: {trouble}", err=True)
    if install_daemon:
        _install(ctx, quiet=as_json)
    if as_json:
        # at the end, as one that fails prints its envelope and nothing else
        report = _report(edit, wishes, trouble, install_daemon=install_daemon, checked=not skip_health)
        print_json({**report, "next": state.advice(report["next"])})
    else:
        click.echo(f"Next: {state.advice(next_command(wishes, install_daemon=install_daemon))}")


def _names() -> list[str]:
    return [field.name for field in attrs.fields(Wishes)]


def check(wishes: Wishes) -> None:
    """
    See whether everything is there, and fits.

    @raise OpenClawError: naming the option at fault.
    """
    from openclaw.config.checks import HttpUrl

    if wishes.choice == CUSTOM:
        if not wishes.base_url:
            raise OpenClawError("--custom-base-url is needed: the server's URL, such as http://127.0.0.1:8080/v1")
        fault = HttpUrl().fault(wishes.base_url)
        if fault is not None:
            raise OpenClawError(f"--custom-base-url: {fault}")
        if not (wishes.model_id or "").strip():
            raise OpenClawError("--custom-model-id is needed: the model's name at that server")
    elif wishes.base_url or wishes.model_id or wishes.api_key or wishes.provider_id:
        raise OpenClawError(f"--custom-... options go with --auth-choice {CUSTOM}")
    _check_bind(wishes)
    if wishes.auth == "password" and not wishes.password and not os.environ.get("OPENCLAW_GATEWAY_PASSWORD"):
        raise OpenClawError("--gateway-auth password needs --gateway-password")
    if wishes.token and wishes.password and wishes.auth is None:
        raise OpenClawError("--gateway-token and --gateway-password: say which one counts with --gateway-auth")


def _check_bind(wishes: Wishes) -> None:
    from openclaw.config.checks import Address

    if (wishes.bind == "custom") != (wishes.custom_host is not None):
        raise OpenClawError("--gateway-bind custom and --gateway-custom-host go together: the address to listen at")
    fault = Address().fault(wishes.custom_host) if wishes.custom_host is not None else None
    if fault is not None:
        raise OpenClawError(f"--gateway-custom-host: {fault}")


def provider_name(base_url: str) -> str:
    """A name for the provider at a URL: C{custom-127-0-0-1-8080}."""
    parts = urlsplit(base_url)
    text = f"{parts.hostname or 'server'}{f'-{parts.port}' if parts.port else ''}"
    return f"custom-{re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')}"


def with_wishes(document: Any, wishes: Wishes, environ: Any) -> Any:
    """A document in which the wishes are fulfilled."""
    from openclaw.cli.models.set import with_model
    from openclaw.config.edit_document import ABSENT, is_set, value_at, with_value

    if not is_set(document, ("gateway", "mode")):
        document = with_value(document, ("gateway", "mode"), "local")
    for key, value in (("port", wishes.port), ("bind", wishes.bind), ("customBindHost", wishes.custom_host)):
        if value is not None:
            document = with_value(document, ("gateway", key), value)
    document = _with_credential(document, wishes, environ)
    document = with_value(document, ("gateway", "http", "endpoints", "chatCompletions", "enabled"), True)
    if wishes.workspace is not None:
        document = with_value(document, ("agents", "defaults", "workspace"), wishes.workspace)
    if wishes.choice == LOCAL:
        name = value_at(document, ("models", "local", "model"))
        return with_model(document, f"local/{DEFAULT_WEIGHTS if name is ABSENT else name}")
    if wishes.choice == CUSTOM:
        provider: dict[str, Any] = {"baseUrl": wishes.base_url, "api": "openai-completions"}
        if wishes.api_key:
            provider["apiKey"] = wishes.api_key
        provider["models"] = [{"id": wishes.model_id}]
        document = with_value(document, ("models", "providers", wishes.provider), provider, merge=True)
        return with_model(document, f"{wishes.provider}/{wishes.model_id}")
    return document


def _with_credential(document: Any, wishes: Wishes, environ: Any) -> Any:
    """A document with the credential that is wished for; with a random token if it would have none."""
    from openclaw.config.edit_document import is_set, value_at, with_value

    auth = ("gateway", "auth")
    mode = wishes.auth or ("password" if wishes.password else "token" if wishes.token else None)
    if mode is not None:
        document = with_value(document, (*auth, "mode"), mode)
    for key, value in (("token", wishes.token), ("password", wishes.password)):
        if value:
            document = with_value(document, (*auth, key), value)
    has_any = any(
        is_set(document, (*auth, key)) or environ.get(f"OPENCLAW_GATEWAY_{key.upper()}", "").strip()
        for key in (("token",) if mode == "token" else ("password",) if mode == "password" else ("token", "password"))
    )
    if not has_any and value_at(document, (*auth, "mode")) != "none":
        document = with_value(document, (*auth, "mode"), "token")
        document = with_value(document, (*auth, "token"), secrets.token_urlsafe(32))
    return document


def provider_trouble(edit: Edit, provider_id: str) -> str | None:
    """What is wrong with a provider's server as far as one request tells; C{None} if it answers."""
    from openclaw.cli.setup.provider_probe import probe

    provider = edit.config.models.providers[provider_id]
    key = provider.api_key
    return probe(provider.base_url, key.reveal() if key is not None and key.usable else None)


def next_command(wishes: Wishes, *, install_daemon: bool) -> str:
    """What to type next."""
    if wishes.choice == LOCAL:
        pull = f"openclaw models pull {DEFAULT_WEIGHTS}"
        return f"{pull}, then openclaw gateway start" if install_daemon else "openclaw quickstart"
    return "openclaw gateway start" if install_daemon else "openclaw gateway run"


def _install(ctx: click.Context, *, quiet: bool) -> None:
    import contextlib
    import io

    from openclaw.cli.gateway.service_unit import install

    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        ctx.invoke(install)


def _report(edit: Edit, wishes: Wishes, trouble: str | None, *, install_daemon: bool, checked: bool) -> dict[str, Any]:
    from openclaw.cli.config.editing import outcome

    model = edit.config.agents.defaults.model
    gateway = edit.config.gateway
    return {
        "ok": True,
        "mode": "local",
        "authChoice": wishes.choice,
        "providerId": wishes.provider if wishes.choice == CUSTOM else None,
        "model": model.primary if model is not None else None,
        "gateway": {"port": gateway.port, "bind": gateway.bind, "authMode": gateway.auth.mode},
        "installDaemon": install_daemon,
        "health": {"checked": checked and wishes.choice == CUSTOM, "problem": trouble},
        "next": next_command(wishes, install_daemon=install_daemon),
        **outcome(edit),
    }
