"""
What servers refuse, learned from their own words: an optional field that one names as unknown is not sent again.

Only a refusal of the field counts.  That a value is too large, or of a wrong form, is for the client to know.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs
import msgspec
from twisted.logger import Logger

from openclaw.models import Lesson
from openclaw.providers.openai_messages import DEVELOPER, REASONING
from openclaw.providers.reasons import reason_of

log = Logger()

MAX_RESENDS = 8
"""How often a call is sent again within one attempt, each time with less in it."""

MAX_MODELS = 1000
"""Models about which lessons are kept; the names of models come from clients, so there must be an end."""

MAX_LOOKED_AT = 4000
"""Characters of a refusal that are looked at."""

MAX_TEXTS = 50
"""Texts within a refusal that are looked at."""

MAX_NAMES = 100
"""Names of fields within these that are looked at."""

_REFUSALS = frozenset(
    {
        "additionalproperties",
        "extra_forbidden",
        "parameter_not_supported",
        "unexpected_parameter",
        "unknown_field",
        "unknown_parameter",
        "unrecognized_parameter",
        "unsupported_field",
        "unsupported_parameter",
        "unsupported_value",
        "value_error.extra",
    }
)
"""Codes that say of the field beside them that it is not known, or not in any form that we can have."""

_LIMITS = frozenset({"max_completion_tokens", "max_tokens"})
"""The names of the limit of an answer."""

_PARTS = {"include_usage": "stream_options", "enable_thinking": "chat_template_kwargs"}
"""The names of parts by which a server may refuse a field."""

_THING = r"(?:parameter|field|argument|option|property|key)"
_REFUSED = (
    r"(?:(?:not|n't)\s+(?:currently\s+|yet\s+)?|no\s+longer\s+)(?:support(?:ed)?|permit(?:ted)?|allow(?:ed)?|"
    r"recogni[sz]ed?|known?|accept(?:ed)?|available|implemented|expected|"
    rf"(?:a\s+)?(?:valid|known|supported|recogni[sz]ed)\s+{_THING})|deprecated|不支持|不允许"
)
_UNKNOWN = (
    r"(?:unrecogni[sz]ed|unknown|unsupported|unexpected|extra|extraneous|additional|disallowed|forbidden|未知|"
    r"invalid\s+(?:field|key|property)\b)"
    r"(?!\s+(?:type|format|end|token|character)\b)"
)
_GAP = rf"(?P<gap>(?:[^.,;\n]|,\s*{_THING}\b|\bbody\.){{0,60}}?)"
_BEFORE = re.compile(rf"(?:{_UNKNOWN}|{_REFUSED}){_GAP}\Z")
_FORBIDDEN = re.compile(r"extra_forbidden.{0,80}\Z", re.DOTALL)
_FILLER = rf"\s*(?:{_THING}|input|name|role|setting|is|are|was|were|does|do|has|been|the|this)\b"
_AFTER = re.compile(
    rf"\W{{0,4}}(?:{_FILLER}){{0,4}}\s*(?:参数)?(?:{_REFUSED}|{_UNKNOWN}(?!\s+value\b)|cannot\s+be\s+(?:used|set|specified))"
)
_OF_VALUE = re.compile(
    r"\W{0,4}(?:\w+\W+){0,5}?(?:must|should|has\s+to|between|range|greater|less|at\s+(?:most|least)|too\s+\w+|exceeds?|"
    r"maximum|minimum|larger|smaller|expected(?!\s+one\s+of)|[<>]=?)\b|\W{0,4}(?:\w+\W+){0,5}?[<>]=?"
)
_LISTED = re.compile(r"(?<!not )(?<!un)(?:supported|allowed|permitted|valid|expected|known)\b")


def refused_fields(status: int, body: bytes, optional: Collection[str]) -> tuple[str, ...]:
    """
    Which of the optional fields of a call its server refuses by name.

    @param status: that of the answer; only 400 and 422 are a refusal.
    @param body: what was read of the answer's body.
    @param optional: what was sent and could be left out, as L{openclaw.providers.openai_request.EncodedCall} has it.
    @return: some of these; none if none is named, or if it is the value that is wrong.
    """
    if status not in (400, 422) or not optional:
        return ()
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _named(body[:MAX_LOOKED_AT].decode("utf-8", "replace"), optional)
    by_code = tuple(dict.fromkeys(name for name in _named_by_code(document, 0) if name in optional))
    if by_code:
        return by_code
    # So far apart that no two are read as one.
    named = _named((10 * "\n").join(islice(_texts(document, 0), MAX_TEXTS)), optional)
    # Some name the field by a key alone.
    return named or _named(reason_of(document).text, optional)


def _named_by_code(document: Any, depth: int) -> Iterator[str]:
    """The fields that stand beside a code which says that they are refused."""
    if depth > 6:
        return
    if isinstance(document, list):
        for item in document[:20]:
            yield from _named_by_code(item, depth + 1)
    elif isinstance(document, dict):
        codes = {str(document.get(key, "")).lower() for key in ("code", "type", "keyword")}
        if codes & _REFUSALS:
            text = str(document.get("message", document.get("msg", "")))
            yield from _spelt(document.get("param"), document.get("loc"), text)
        for item in document.values():
            if isinstance(item, dict | list):
                yield from _named_by_code(item, depth + 1)


def _spelt(param: Any, loc: Any, text: str) -> Iterator[str]:
    """What a path may mean: C{messages[0].role} is the role, C{body, seed} the field."""
    path = loc if isinstance(loc, list) else [param]
    parts = [part for item in path if isinstance(item, str) for part in re.split(r"[.\[\]/]+", item) if part]
    for part in reversed(parts):
        if part == "role" and DEVELOPER in text:
            yield DEVELOPER
        yield _PARTS.get(part, part)


def _texts(document: Any, depth: int) -> Iterator[str]:
    """All texts of a document, the outermost first; what was sent and is repeated stands in C{input}."""
    if isinstance(document, str):
        yield document
    elif depth <= 6 and isinstance(document, dict | list):
        if isinstance(document, dict):
            items: Iterable[Any] = (value for key, value in document.items() if key != "input")
        else:
            items = document[:20]
        for item in items:
            yield from _texts(item, depth + 1)


def _named(text: str, optional: Collection[str]) -> tuple[str, ...]:
    """The first optional field of which a text says that it is refused, if there is one."""
    text = text[:MAX_LOOKED_AT].lower()
    spelt = {form: name for name in optional for form in (name.lower(), name.replace("_", "").lower())}
    spelt |= {part: whole for part, whole in _PARTS.items() if whole in optional}
    listed = "|".join(re.escape(name) for name in sorted(spelt, key=len, reverse=True))
    for found in islice(re.finditer(rf"(?<![\w-])(?:{listed})(?![\w-])", text), MAX_NAMES):
        before, after = text[max(0, found.start() - 100) : found.start()], text[found.end() : found.end() + 100]
        if _is_refused(before, after):
            return (spelt[found.group()],)
    return ()


def names(text: str, field: str) -> bool:
    """Whether a text has the name of a field in it."""
    return re.search(rf"(?<![\w-]){re.escape(field)}(?![\w-])", text) is not None


def _is_refused(before: str, after: str) -> bool:
    if _FORBIDDEN.search(before) or _AFTER.match(after):
        return True
    said = _BEFORE.search(before)
    return said is not None and not _LISTED.search(said["gap"]) and not _OF_VALUE.match(after)


def setting_for(field: str) -> str | None:
    """The setting of a model that says for good what was learned of a field; C{None} if there is none."""
    return {
        "max_completion_tokens": 'compat.maxTokensField: "max_tokens"',
        "max_tokens": 'compat.maxTokensField: "max_completion_tokens"',
        "stream_options": "compat.supportsUsageInStreaming: false",
        DEVELOPER: "compat.supportsDeveloperRole: false",
        "store": "compat.supportsStore: false",
        "temperature": "compat.supportsTemperature: false",
        "reasoning_effort": "compat.supportsReasoningEffort: false",
        REASONING: "reasoning: false",
    }.get(field)


class Learned:
    """
    What was learned of the models of all providers, until the end of the process or a change of the provider.

    @param now_s: gives the time, in seconds since 1970.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._by_ref: OrderedDict[str, dict[str, Lesson]] = OrderedDict()

    def of(self, ref: str) -> frozenset[str]:
        """The fields that are not to be sent to a model."""
        known = self._by_ref.get(ref)
        return frozenset() if known is None else frozenset(known)

    def keep(self, ref: str, refused: Mapping[str, str]) -> None:
        """
        Note what a model has answered without; the log tells of each once.

        @param refused: fields, each with the words that refused it, fit to be shown.
        """
        known = self._by_ref.setdefault(ref, {})
        self._by_ref.move_to_end(ref)
        while len(self._by_ref) > MAX_MODELS:
            self._by_ref.popitem(last=False)
        for field, reason in refused.items():
            if field in known:
                continue
            lesson = known[field] = Lesson(ref, field, setting_for(field), reason, self._now_s())
            hint = "" if lesson.setting is None else f"; to say so for good: {lesson.setting}"
            log.warn(
                "the model {ref} does not take {field}, which is left out from now on: {reason}{hint}",
                ref=ref,
                field=field,
                hint=hint,
                reason=reason,
            )

    def forget(self, provider_id: str) -> None:
        """Forget what was learned of a provider's models: its configuration is another one."""
        for ref in [ref for ref in self._by_ref if ref.partition("/")[0] == provider_id]:
            del self._by_ref[ref]

    def lessons(self) -> Sequence[Lesson]:
        """All that was learned, the oldest first."""
        lessons: list[Lesson] = []
        for known in self._by_ref.values():
            # A server that knows neither name of the limit is helped by no setting.
            helpless = _LIMITS if known.keys() >= _LIMITS else frozenset()
            lessons += [attrs.evolve(one, setting=None) if one.field in helpless else one for one in known.values()]
        return sorted(lessons, key=lambda lesson: lesson.learned_at_s)
