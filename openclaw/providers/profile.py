"""What a model takes: made of its configuration and its provider's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openclaw.config.compat import EXTRA_BODY, CompatConfig
from openclaw.config.models import ModelConfig, ProviderConfig
from openclaw.models import BodyForm, MessageForm, ModelProfile, ThinkingForm

_NOT_SENT = (
    "anthropicCompactThreshold",
    "anthropicServerCompaction",
    "cacheRetention",
    "context1m",
    "fastMode",
    "responsesCompactThreshold",
    "responsesServerCompaction",
    "transport",
)
"""Names within C{params} that the original reads itself, for other protocols or for what we do not have."""

_LIMIT = "maxTokens"
"""The original's name, within C{params}, of the limit of an answer."""


def profile_of(
    provider: ProviderConfig, model: ModelConfig, session_ids: Callable[[str], str] | None = None
) -> ModelProfile:
    """
    Make the profile of a model.

    @param model: its entry; one with nothing but its id if there is none.
    @param session_ids: makes what the provider is told as the name of a session, of the session's key.
    """
    compat = model.compat
    told = provider.send_session_id if model.send_session_id is None else model.send_session_id
    return ModelProfile(
        messages=MessageForm(
            developer_role=compat.supports_developer_role and model.reasoning,
            string_content=compat.requires_string_content,
            strict_keys=compat.strict_message_keys,
            reasoning=_reasoning(compat) if model.reasoning else _asked_for(compat),
            tool_result_name=compat.requires_tool_result_name,
            assistant_after_tool=compat.requires_assistant_after_tool_result,
        ),
        thinking=ThinkingForm(
            compat.thinking_format,
            compat.supports_reasoning_effort,
            compat.supported_reasoning_efforts,
            {**compat.reasoning_effort_map, **model.thinking_level_map},
        ),
        body=_body(provider, model),
        headers={name: value.reveal() for name, value in model.headers.items()},
        think_tags=compat.think_tags,
        session_ids=session_ids if told and compat.send_session_id_header else None,
    )


def _reasoning(compat: CompatConfig) -> Any:
    return _asked_for(compat) or "content"


def _asked_for(compat: CompatConfig) -> Any:
    """What the configuration says of reasoning that goes back, whether the model is said to reason or not."""
    if compat.requires_thinking_as_text:
        return "text"
    return "always" if compat.requires_reasoning_content_on_assistant_messages else None


def _body(provider: ProviderConfig, model: ModelConfig) -> BodyForm:
    compat = model.compat
    params: dict[str, Any] = {**provider.params, **model.params}
    overrides: dict[str, Any] = {}
    for level in (provider.params, model.params):
        for name in EXTRA_BODY:
            overrides |= level.get(name, {})
    for name in (*EXTRA_BODY, *_NOT_SENT):
        params.pop(name, None)
    if _LIMIT in params:
        params.setdefault(compat.max_tokens_field, params.pop(_LIMIT))
    if compat.open_router_routing:
        params.setdefault("provider", compat.open_router_routing)
    if compat.vercel_gateway_routing:
        params.setdefault("providerOptions", {"gateway": compat.vercel_gateway_routing})
    if provider.inject_num_ctx:
        given = params.get("options")
        params["options"] = {"num_ctx": model.context_window, **(given if isinstance(given, dict) else {})}
    return BodyForm(
        compat.max_tokens_field,
        compat.supports_usage_in_streaming,
        compat.supports_temperature,
        compat.supports_store,
        params,
        overrides,
    )
