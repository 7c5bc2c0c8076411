"""C{models.providers.<id>.models[].compat}: how a server differs from OpenAI's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, Self

import attrs

from openclaw.config.checks import Text
from openclaw.config.gateway import Problem

RESERVED_FIELDS = ("model", "messages", "stream")
"""Fields of a call's body that no setting may replace."""

EXTRA_BODY = ("extra_body", "extraBody")
"""The names within C{params} of an object whose fields beat all others."""


@attrs.frozen
class CompatConfig:
    """
    C{models.providers.<id>.models[].compat}: what a server takes, where that is not what OpenAI's own does.

    @ivar max_tokens_field: the name of the limit of an answer.
    @ivar supports_usage_in_streaming: whether usage may be asked for; without it usage is estimated.
    @ivar supports_developer_role: send the system message of a model that reasons as C{developer}.
    @ivar supports_store: true sends C{store: false}, false never sends C{store}.
    @ivar supports_temperature: whether C{temperature} may be sent.
    @ivar supports_reasoning_effort: whether it may be told in a word how much to think.
    @ivar supported_reasoning_efforts: the words that it knows for that; another is replaced by the nearest one.
    @ivar reasoning_effort_map: its word for one of ours.
    @ivar thinking_format: how it is told how much to think.
    @ivar requires_string_content: the content of each message must be a text.
    @ivar strict_message_keys: messages may hold C{role} and C{content} only; calls of tools become texts.
    @ivar requires_tool_result_name: results of tools must name the tool.
    @ivar requires_assistant_after_tool_result: results must be answered before the user's next words.
    @ivar requires_thinking_as_text: reasoning goes back as a part of the text.
    @ivar requires_reasoning_content_on_assistant_messages: each answer goes back with its reasoning, be it empty.
    @ivar supports_tools: whether the model can call tools; none are sent yet.
    @ivar tool_schema_profile: whose rules the parameters of tools must keep; checked, no tools are sent yet.
    @ivar open_router_routing: which servers OpenRouter may choose; sent as C{provider}.
    @ivar vercel_gateway_routing: the same of Vercel's gateway; sent as C{providerOptions.gateway}.
    @ivar send_session_id_header: false leaves C{X-Session-ID} out, as C{sendSessionId} does.
    @ivar think_tags: whether a C{<think>} block of an answer's text is reasoning.
    """

    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    supports_usage_in_streaming: bool = True
    supports_developer_role: bool = False
    supports_store: bool | None = None
    supports_temperature: bool = True
    supports_reasoning_effort: bool = True
    supported_reasoning_efforts: tuple[Text, ...] = ()
    reasoning_effort_map: Mapping[str, Text] = attrs.field(factory=dict)
    thinking_format: Literal["openai", "openrouter", "deepseek", "together", "qwen", "qwen-chat-template", "zai"] = (
        "openai"
    )
    requires_string_content: bool = False
    strict_message_keys: bool = False
    requires_tool_result_name: bool = False
    requires_assistant_after_tool_result: bool = False
    requires_thinking_as_text: bool = False
    requires_reasoning_content_on_assistant_messages: bool = False
    supports_tools: bool = True
    tool_schema_profile: Literal["llamacpp", "gemini"] | None = None
    open_router_routing: Mapping[str, Any] = attrs.field(factory=dict)
    vercel_gateway_routing: Mapping[str, Any] = attrs.field(factory=dict)
    send_session_id_header: bool = True
    think_tags: bool = True

    def settled(self, problem: Problem) -> Self:
        """Refuse what is no JSON in the fields that are passed on."""
        return attrs.evolve(
            self,
            open_router_routing=plain_json(self.open_router_routing, ("openRouterRouting",), problem),
            vercel_gateway_routing=plain_json(self.vercel_gateway_routing, ("vercelGatewayRouting",), problem),
        )


def checked_params(params: Mapping[str, Any], path: tuple[str, ...], problem: Problem) -> Mapping[str, Any]:
    """Further fields of a call's body, after a problem for each that has a field of its own or is no JSON."""
    params = plain_json(params, path, problem)
    parts = {path: params}
    for name in EXTRA_BODY:
        extra = params.get(name)
        if extra is not None and not isinstance(extra, dict):
            problem((*path, name), "expected an object")
        elif extra is not None:
            parts[(*path, name)] = extra
    for place, fields in parts.items():
        for name in RESERVED_FIELDS:
            if name in fields:
                problem((*place, name), "this field of a call is made by the gateway and cannot be set")
    return params


def checked_levels(levels: Mapping[str, Any], path: tuple[str, ...], problem: Problem) -> Mapping[str, str | None]:
    """Words for levels of thinking, after a problem for each that is neither a text nor null."""
    for name, word in levels.items():
        if word is not None and (not isinstance(word, str) or not word.strip()):
            problem((*path, name), "expected a string or null")
    return {name: str(word) for name, word in levels.items() if isinstance(word, str)} | {
        name: None for name, word in levels.items() if word is None
    }


def plain_json(value: Mapping[str, Any], path: tuple[str, ...], problem: Problem) -> Mapping[str, Any]:
    """An object as JSON has it, without what only the reading of the file knows; a problem if it is none."""
    try:
        # Half of a surrogate pair is no character and cannot be sent.
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        problem(path, "holds what cannot be sent as JSON: NaN, Infinity or half a surrogate pair")
        return {}
    plain: dict[str, Any] = json.loads(text)
    return plain
