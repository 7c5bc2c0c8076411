"""Finding out what a model server does: a few words, a tool, and what it tells of its models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import msgspec
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred

from openclaw.errors import OpenClawError, ProviderFailed, ProviderTimeout
from openclaw.events import ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.interfaces import Clock
from openclaw.messages import Message, Usage
from openclaw.models import ModelRequest, ResolvedModel, Sampling
from openclaw.providers.body import receive
from openclaw.providers.failures import NETWORK_ERRORS, error_of_answer, error_of_network
from openclaw.providers.http import request_headers
from openclaw.providers.openai_request import Endpoint, address_of
from openclaw.waits import within

WORDS = "Say these words and nothing else: one two three"
"""What a model is asked for: little, and more than one piece of a stream."""

MAX_TOKENS = 256
"""Most tokens of an answer; a model that thinks first needs some for that."""

MAX_MODELS_BYTES = 8 * 1024 * 1024
"""Most of a list of models that is read."""

MAX_SHOWN_CHARACTERS = 200
"""Most of an answer that is kept."""

TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time of day.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
}
"""The tool that a model is offered."""

_WINDOWS = (
    "max_model_len",
    "context_length",
    "context_window",
    "loaded_context_length",
    "max_context_length",
    "max_context_window",
    "max_input_tokens",
    "n_ctx",
    "n_ctx_train",
    "inputTokenLimit",
)
_ANSWERS = ("max_completion_tokens", "max_output_tokens", "max_output_length", "outputTokenLimit")
_PLACES = ("meta", "top_provider", "limits", "capabilities", "metadata", "info")


@attrs.define
class Spoken:
    """
    What came of asking a model.

    @ivar text: the beginning of what it said.
    @ivar pieces: in how many pieces text and reasoning came.
    @ivar head_ms: milliseconds from the start to the head of the answer; C{None} if there was none.
    @ivar first_ms: the same to the first piece.
    @ivar total_ms: the same to the end.
    @ivar usage: what it cost, as the server counted it.
    @ivar finish_reason: why it ended.
    @ivar called: whether a tool was called.
    @ivar error: why it failed.
    """

    text: str = attrs.field(default="", init=False)
    pieces: int = attrs.field(default=0, init=False)
    head_ms: int | None = attrs.field(default=None, init=False)
    first_ms: int | None = attrs.field(default=None, init=False)
    total_ms: int | None = attrs.field(default=None, init=False)
    usage: Usage | None = attrs.field(default=None, init=False)
    finish_reason: str | None = attrs.field(default=None, init=False)
    called: bool = attrs.field(default=False, init=False)
    error: str | None = attrs.field(default=None, init=False)


@attrs.frozen
class Limits:
    """
    What a server tells of a model in its list.

    @ivar listed: whether the model is in the list; C{None} if there is no list.
    @ivar context_window: tokens that it can read.
    @ivar max_tokens: most tokens of an answer.
    @ivar error: why there is no list.
    """

    listed: bool | None = None
    context_window: int | None = None
    max_tokens: int | None = None
    error: str | None = None


async def ask(model: ResolvedModel, clock: Clock, timeout_s: float, *, with_tool: bool = False) -> Spoken:
    """
    Ask a model for a few words.  Cancelling aborts the call.

    @param timeout_s: longest time for all of it.
    @param with_tool: offer it a tool, which it may call.
    @return: what came of it; a failure is told in it and not raised.
    """
    spoken = Spoken()
    began_s = clock.seconds()
    asking = Deferred.fromCoroutine(_ask(model, clock, spoken, with_tool))
    try:
        await within(asking, timeout_s, clock, _late)
    except OpenClawError as error:
        spoken.error = error.message
    spoken.total_ms = _since_ms(clock, began_s)
    return spoken


def _late(result: object, timeout_s: float) -> Any:
    raise ProviderTimeout(f"there was no whole answer within {timeout_s:g} s")


def _since_ms(clock: Clock, began_s: float) -> int:
    return round((clock.seconds() - began_s) * 1000)


async def _ask(model: ResolvedModel, clock: Clock, spoken: Spoken, with_tool: bool) -> None:
    began_s = clock.seconds()
    limit = MAX_TOKENS if model.max_tokens is None else min(MAX_TOKENS, model.max_tokens)
    profile = model.profile
    if with_tool:
        overrides = {**profile.body.overrides, "tools": [TOOL], "tool_choice": "auto"}
        profile = attrs.evolve(profile, body=attrs.evolve(profile.body, overrides=overrides))
    messages = (Message("user", WORDS),)
    sampling = Sampling(max_tokens=limit)
    request = ModelRequest(model.model_id, messages, sampling, profile=profile, offers_tools=with_tool)
    async with model.provider.stream(request) as stream:
        spoken.head_ms = _since_ms(clock, began_s)
        async for batch in stream:
            for event in batch:
                if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta) and spoken.first_ms is None:
                    spoken.first_ms = _since_ms(clock, began_s)
                _note(event, spoken)


def _note(event: object, spoken: Spoken) -> None:
    match event:
        case TextDelta():
            spoken.pieces += 1
            spoken.text = (spoken.text + event.text)[:MAX_SHOWN_CHARACTERS]
        case ReasoningDelta():
            spoken.pieces += 1
        case ToolCallDelta():
            spoken.called = True
        case ProviderUsage():
            spoken.usage = None if event.usage.estimated else event.usage
        case ProviderFinished():
            spoken.finish_reason = event.reason


async def fetch_limits(
    endpoint: Endpoint, model_id: str, http_client: HTTPClient, clock: Clock, timeout_s: float
) -> Limits:
    """
    Read what a server tells of a model by C{GET /models}.  Cancelling aborts the call.

    @param timeout_s: longest time for all of it.
    @return: what it tells; a failure is told in it and not raised.
    """
    fetching = Deferred.fromCoroutine(_fetch_models(endpoint, http_client, clock))
    try:
        document = await within(fetching, timeout_s, clock, _late)
    except OpenClawError as error:
        return Limits(error=error.message)
    return limits_in(document, model_id)


async def _fetch_models(endpoint: Endpoint, http_client: HTTPClient, clock: Clock) -> Any:
    address = address_of(endpoint, "models")
    name = endpoint.name
    if address is None:
        raise ProviderFailed(f"the baseUrl of the provider {name} cannot be used")
    headers = request_headers({**address.headers, "Accept": "application/json"})
    try:
        asked: Any = http_client.request("GET", address.url, headers=headers, allow_redirects=False, unbuffered=True)
        response = await asked
    except CancelledError:
        raise
    except NETWORK_ERRORS as error:
        raise error_of_network(error, name=name) from error
    body = receive(response, clock, endpoint.idle_timeout_s, name)
    pieces: list[bytes] = []
    size = 0
    while (data := await body.read()) is not None:
        pieces.append(data)
        size += len(data)
        if size > MAX_MODELS_BYTES:
            body.abort()
            raise ProviderFailed(f"the provider {name} lists too many models")
    whole = b"".join(pieces)
    if response.code != 200:
        raise error_of_answer(response.code, response.headers, whole, name=name, secrets=address.secrets)
    try:
        return msgspec.json.decode(whole)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProviderFailed(f"the provider {name} gives no list of models") from None


def limits_in(document: Any, model_id: str) -> Limits:
    """
    What a list of models tells of one.

    @param document: the answer of C{GET /models}: a list, or an object with one in C{data} or C{models}.
    """
    rows = document
    if isinstance(document, dict):
        rows = document.get("data") if isinstance(document.get("data"), list) else document.get("models")
    if not isinstance(rows, list):
        return Limits(error="the server gives no list of models")
    row = next((row for row in rows if isinstance(row, dict) and model_id in _names(row)), None)
    if row is None:
        return Limits(listed=False)
    places = [row, *(row[name] for name in _PLACES if isinstance(row.get(name), dict))]
    return Limits(True, _first(places, _WINDOWS), _first(places, _ANSWERS))


def _names(row: Mapping[str, Any]) -> Iterator[str]:
    for key in ("id", "name", "model"):
        name = row.get(key)
        if isinstance(name, str):
            yield name
            yield name.removeprefix("models/")


def _first(places: list[dict[str, Any]], names: tuple[str, ...]) -> int | None:
    """The smallest of the numbers of these names: a server may serve less than its model could."""
    values = [place.get(name) for place in places for name in names]
    return min((value for value in values if type(value) is int and 0 < value <= 10**9), default=None)
