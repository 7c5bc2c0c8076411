"""What C{openclaw onboard} is to set up."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

import attrs

from openclaw.config.checks import ADDRESS, HTTP_URL
from openclaw.errors import OpenClawError

LOCAL, CUSTOM, SKIP = "local", "custom-api-key", "skip"

DEFAULT_WEIGHTS = "smollm2-135m"
"""The embedded model where the configuration names none."""


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
