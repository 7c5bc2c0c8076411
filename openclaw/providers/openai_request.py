"""What is sent to a model server that speaks OpenAI's chat completions: where to, with which headers and which body."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import attrs
import msgspec
from hyperlink import EncodedURL

from openclaw._version import __version__
from openclaw.models import MessageForm, ModelRequest
from openclaw.providers.http import RequestURL, ready_url
from openclaw.providers.openai_messages import optional_parts, wire_messages
from openclaw.providers.thinking import thinking_fields


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
    @ivar key_wins: whether the key beats an C{Authorization} among the headers.
    """

    base_url: str = attrs.field(repr=False)
    api_key: str | None = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    first_byte_timeout_s: float
    idle_timeout_s: float
    name: str
    key_wins: bool = False


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


def address_of(endpoint: Endpoint, *below: str) -> PostAddress | None:
    """
    The address of an endpoint, or C{None} if its base URL is none.

    @param below: the path below the base URL where it is not C{/chat/completions}.
    """
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "User-Agent": f"openclaw/{__version__}",
    }
    secrets = [endpoint.api_key or "", *endpoint.headers.values()]
    try:
        url = EncodedURL.from_text(endpoint.base_url)
        path = tuple(part for part in url.path if part)
        ready = ready_url(url.replace(userinfo="", path=(*path, *(below or ("chat", "completions")))))
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
    given = endpoint.headers
    if endpoint.key_wins and endpoint.api_key:
        given = {name: value for name, value in given.items() if name.lower() != "authorization"}
    headers.update(given)
    return PostAddress(ready, headers, tuple(secrets))


SESSION_ID = "X-Session-ID"
"""The header that tells a provider which calls belong to one session, so that a router keeps them on one worker."""

ESSENTIAL = frozenset({"model", "messages", "stream", "response_format", "tools", "tool_choice"})
"""Fields without which an answer would be another one: never left out, whatever the server says."""

_LIMITS = ("max_completion_tokens", "max_tokens")
_SHAPE = frozenset({"model", "messages", "stream"})


@attrs.frozen
class EncodedCall:
    """
    A call as it is sent.

    @ivar data: the JSON body.
    @ivar _fields: the names of its fields.
    @ivar _messages: as they stand in it.
    """

    data: bytes = attrs.field(repr=False)
    _fields: Collection[str]
    _messages: Sequence[Mapping[str, Any]] = attrs.field(repr=False)
    _form: MessageForm

    @property
    def optional(self) -> frozenset[str]:
        """Names of what could be left out: fields, and what L{openclaw.providers.openai_messages} names."""
        return frozenset({*self._fields} - ESSENTIAL | optional_parts(self._messages, self._form))


def headers_of(address: PostAddress, request: ModelRequest) -> dict[str, str]:
    """The headers of a call; configured ones beat ours, and the model's beat the provider's."""
    named = {} if request.session_id is None else {SESSION_ID: request.session_id}
    return {**named, **address.headers, **request.profile.headers}


def encode_call(request: ModelRequest, without: Collection[str] = ()) -> EncodedCall:
    """
    Write a call as the JSON body of C{POST /chat/completions}, by the model's profile.

    Settings that are C{None} are left out.

    @param without: names of what the server is known to refuse; the token limit then has its other name.
    """
    form, sampling = request.profile.body, request.sampling
    messages = wire_messages(request.messages, request.profile.messages, without)
    made: dict[str, Any] = {
        "stream_options": {"include_usage": True} if form.stream_usage else None,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "seed": sampling.seed,
        "stop": sampling.stop or None,
        form.max_tokens_field: sampling.max_tokens,
        "response_format": None if sampling.response_format is None else msgspec.Raw(sampling.response_format),
        "store": False if form.store else None,
        **thinking_fields(request.profile.thinking, sampling.reasoning_effort),
    }
    fields = {name: value for name, value in made.items() if value is not None}
    for name, value in form.params.items():
        known = fields.get(name)
        if known is None and not (name in _LIMITS and sampling.max_tokens is not None):
            fields[name] = value
        elif isinstance(known, dict) and isinstance(value, dict):
            fields[name] = {**known, **value}
    fields.update(form.overrides)
    limits = [fields.pop(name) for name in _LIMITS if name in fields and name in without]
    spare = next((name for name in _LIMITS if name not in without), None)
    if limits and spare is not None:
        fields.setdefault(spare, limits[0])
    left_out = {*without, *(() if form.temperature else ("temperature",)), *(("store",) if form.store is False else ())}
    fields = {name: value for name, value in fields.items() if name not in _SHAPE and name not in left_out - ESSENTIAL}
    body = {"model": request.model, "messages": messages, "stream": True, **fields}
    return EncodedCall(msgspec.json.encode(body), fields, messages, request.profile.messages)
