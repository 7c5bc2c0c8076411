"""What is sent to a model server that speaks OpenAI's chat completions: where to, with which headers and which body."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import attrs
import msgspec
from hyperlink import EncodedURL

from openclaw._version import __version__
from openclaw.messages import Message
from openclaw.models import ModelRequest
from openclaw.providers.http import RequestURL, ready_url


@attrs.frozen
class Endpoint:
    """
    Where a model server is and how it is to be talked to.

    @ivar base_url: what C{/chat/completions} is added to.  A user and password in it are sent as basic
        authentication where there is no key.
    @ivar api_key: sent as a bearer token; C{None} for none.
    @ivar headers: further headers; they beat the ones that are made here.
    @ivar first_byte_timeout_s: seconds from the start of a call to the head of its answer.
    @ivar idle_timeout_s: longest gap within an answer, in seconds.
    @ivar name: the provider's name in the configuration, for messages.
    """

    base_url: str = attrs.field(repr=False)
    api_key: str | None = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    first_byte_timeout_s: float
    idle_timeout_s: float
    name: str


@attrs.frozen
class PostAddress:
    """
    What is made once of an L{Endpoint}.

    @ivar url: where calls are posted to.
    @ivar headers: the headers of each call.
    @ivar secrets: texts that must not appear in messages.
    """

    url: RequestURL = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    secrets: Sequence[str] = attrs.field(repr=False)


def address_of(endpoint: Endpoint) -> PostAddress | None:
    """The address of an endpoint, or C{None} if its base URL is none."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "User-Agent": f"openclaw/{__version__}",
    }
    secrets = [endpoint.api_key or "", *endpoint.headers.values()]
    try:
        url = EncodedURL.from_text(endpoint.base_url)
        path = tuple(part for part in url.path if part)
        ready = ready_url(url.replace(userinfo="", path=(*path, "chat", "completions")))
    except ValueError:
        return None
    if url.scheme not in ("http", "https") or not url.host:
        return None
    if url.userinfo:
        user = unquote(url.userinfo)
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        secrets.append(user.partition(":")[2])
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    headers.update(endpoint.headers)
    return PostAddress(ready, headers, tuple(secrets))


def encode_request(request: ModelRequest) -> bytes:
    """
    Write a call as the JSON body of C{POST /chat/completions}.

    Settings that are C{None} are left out.  The token limit is C{max_completion_tokens}.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    settings: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "seed": sampling.seed,
        "stop": sampling.stop or None,
        "max_completion_tokens": sampling.max_tokens,
        "response_format": None if sampling.response_format is None else msgspec.Raw(sampling.response_format),
        "reasoning_effort": sampling.reasoning_effort,
    }
    body.update((name, value) for name, value in settings.items() if value is not None)
    return msgspec.json.encode(body)


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id or "", "content": message.text}
    if message.role == "assistant" and message.tool_calls:
        return {
            "role": "assistant",
            "content": message.text or None,
            "tool_calls": [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ],
        }
    return {"role": message.role, "content": message.text}
