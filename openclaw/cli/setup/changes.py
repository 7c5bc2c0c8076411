"""The configuration file in which the wishes of C{openclaw onboard} are fulfilled."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from openclaw.cli.agents.roster import with_model
from openclaw.cli.setup.wishes import CUSTOM, DEFAULT_WEIGHTS, LOCAL, GatewayWish, Wishes
from openclaw.config.edit_document import ABSENT, is_set, value_at, with_value


def with_wishes(document: Any, wishes: Wishes, environ: Mapping[str, str]) -> Any:
    """A document in which the wishes are fulfilled."""
    model, gateway = wishes.model, wishes.gateway
    if not is_set(document, ("gateway", "mode")):
        document = with_value(document, ("gateway", "mode"), "local")
    for key, value in (("port", gateway.port), ("bind", gateway.bind), ("customBindHost", gateway.custom_host)):
        if value is not None:
            document = with_value(document, ("gateway", key), value)
    document = _with_credential(document, gateway, environ)
    document = with_value(document, ("gateway", "http", "endpoints", "chatCompletions", "enabled"), True)
    if wishes.workspace is not None:
        document = with_value(document, ("agents", "defaults", "workspace"), wishes.workspace)
    if model.choice == LOCAL:
        name = value_at(document, ("models", "local", "model"))
        return with_model(document, f"local/{DEFAULT_WEIGHTS if name is ABSENT else name}")
    if model.choice == CUSTOM:
        provider: dict[str, Any] = {"baseUrl": model.base_url, "api": "openai-completions"}
        if model.api_key:
            provider["apiKey"] = model.api_key
        provider["models"] = [{"id": model.model_id}]
        document = with_value(document, ("models", "providers", model.provider), provider, merge=True)
        return with_model(document, f"{model.provider}/{model.model_id}")
    return document


def _with_credential(document: Any, gateway: GatewayWish, environ: Mapping[str, str]) -> Any:
    """A document with the credential that is wished for; with a random token if it would have none."""
    auth = ("gateway", "auth")
    mode = gateway.auth or ("password" if gateway.password else "token" if gateway.token else None)
    if mode is not None:
        document = with_value(document, (*auth, "mode"), mode)
    for key, value in (("token", gateway.token), ("password", gateway.password)):
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
