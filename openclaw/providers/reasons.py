"""
The reason in a model server's error, in whatever shape it comes.

Servers have agreed on no shape.  Seen so far::

    {"error": {"message", "type", "code", "param"}}          OpenAI and most others
    {"error": "text"}   {"error": {…}, "metadata": {"raw"}}  LM Studio, Ollama; OpenRouter, with the reason of another
    {"code", "message"}   {"code", "msg"}                    SiliconFlow, DashScope; Zhipu
    {"base_resp": {"status_code", "status_msg"}}             MiniMax, within a 200
    {"error_code", "error_msg"}   {"error_type", "error_message"}   Baidu; relays of vLLM
    {"errors": [{"code", "message"}]}   {"errors": ["text"]} Cloudflare
    {"title", "errors": {"field": ["text"]}}   {"Message"}   ASP.NET; AWS
    {"success": false, "message"}                            relays
    {"detail": "text"}   {"detail": [{"loc", "msg"}]}        FastAPI
    {"object": "error", …}   {"type": "error", "error": {…}} older vLLM, SGLang; Anthropic
    [{"error": {…}}]                                         Gemini
"""

from __future__ import annotations

import json
from typing import Any

import attrs

_MAX_DEPTH = 8
_MAX_ITEMS = 5
_MAX_CODE_CHARACTERS = 200

_MESSAGE_KEYS = (
    *("message", "msg", "detail", "error_message", "error_msg", "errormessage", "errmsg", "status_msg"),
    *("error_description", "error", "errors", "fault", "faultstring", "reason", "description", "title"),
)
_CODE_KEYS = ("code", "type", "status", "error_code", "error_type", "status_code", "errorcode", "__type")
_NO_ERROR_WORDS = frozenset({"", "null", "none", "ok", "success", "false", "0", "200", "undefined"})


@attrs.frozen
class Reason:
    """
    What an error says.

    @ivar text: the server's words; empty if there are none.
    @ivar codes: its codes and types, the most telling first.
    """

    text: str
    codes: tuple[str, ...] = ()


def is_error(value: Any, depth: int = _MAX_DEPTH) -> bool:
    """
    Whether the value of an C{error} field is one.

    Servers write "no error" as null, an empty text, an empty object, false, 0, and an object that says "success".

    @param depth: how deep it is looked into.
    """
    if isinstance(value, str):
        return value.strip().lower() not in _NO_ERROR_WORDS
    if isinstance(value, dict):
        return depth == 0 or any(is_error(each, depth - 1) for key, each in value.items() if key != "param")
    if isinstance(value, list):
        return depth == 0 or any(is_error(each, depth - 1) for each in value)
    if isinstance(value, float | int) and not isinstance(value, bool):
        return value not in (0, 200)
    return bool(value)


def error_in(document: Any) -> Any:
    """
    Find the error in what came where a piece of an answer was due.

    @param document: decoded JSON.
    @return: the part that says why, for L{reason_of}; C{None} if it is no error.
    """
    if isinstance(document, list):
        return next((document for each in document if isinstance(each, dict) and error_in(each) is not None), None)
    if not isinstance(document, dict):
        return None
    if is_error(document.get("error")) or document.get("object") == "error" or document.get("type") == "error":
        return document
    base = document.get("base_resp")
    if isinstance(base, dict) and _is_code(base.get("status_code")):
        return {**base, "status_code": f"minimax {base['status_code']}"}
    if any(is_error(document.get(key)) for key in ("errors", "error_message", "error_msg", "error_code", "detail")):
        return document
    has_words = any(isinstance(document.get(key), str) and is_error(document[key]) for key in ("message", "msg"))
    kind = document.get("type")
    says_so = (
        _is_code(document.get("code"))
        or document.get("success") is False
        or document.get("status") in ("error", "failed")
        or (isinstance(kind, str) and kind.lower().endswith("error"))
    )
    return document if has_words and says_so else None


def _is_code(value: Any) -> bool:
    """Whether a code is one of a failure: 0, 200 and words of success are none."""
    return isinstance(value, str | int) and not isinstance(value, bool) and is_error(value)


def reason_of(error: Any) -> Reason:
    """
    Read an error.

    @param error: decoded JSON: an error object, what holds one, a list of them, or a bare text.
    """
    return _reason(error, _MAX_DEPTH)


def _reason(error: Any, depth: int) -> Reason:
    if isinstance(error, str):
        return _of_text(error, depth)
    if isinstance(error, list):
        reasons = [_of_item(each, depth) for each in error[:_MAX_ITEMS]]
        text = "; ".join(dict.fromkeys(reason.text for reason in reasons if reason.text))
        return Reason(text, tuple(code for reason in reasons for code in reason.codes))
    if not isinstance(error, dict) or not depth:
        return Reason("")
    error = {str(key).lower(): value for key, value in error.items()}
    inner = error.get("error")
    codes = _own_codes(error)
    if isinstance(inner, dict | list) and is_error(inner):
        reason = _reason(inner, depth - 1)
        if reason.text or reason.codes:
            # What stands around it says less: "error", or the status once more.
            return attrs.evolve(reason, codes=(*reason.codes, *(code for code in codes if code != "error")))
    reason = Reason("")
    for key in _MESSAGE_KEYS:
        value = error.get(key)
        if isinstance(value, str | dict | list) and is_error(value):
            if key == "errors" and isinstance(value, dict):
                # The name of a field, and what is wrong with it.
                value = [{"loc": [name], "errors": said} for name, said in value.items()]
            reason = _reason(value, depth - 1)
            if reason.text:
                break
    return _with_raw(Reason(reason.text, (*codes, *reason.codes)), error, depth)


def _own_codes(error: dict[str, Any]) -> tuple[str, ...]:
    values = (error.get(key) for key in _CODE_KEYS)
    return tuple(
        str(value)[:_MAX_CODE_CHARACTERS]
        for value in values
        if isinstance(value, str | int) and not isinstance(value, bool) and value
    )


def _of_text(text: str, depth: int) -> Reason:
    """A text; some relays put a whole JSON document into it."""
    stripped = text.strip()
    if depth and stripped.startswith("{") and stripped.endswith("}"):
        try:
            inner = _reason(json.loads(stripped), depth - 1)
        except (ValueError, RecursionError):
            pass
        else:
            if inner.text:
                return inner
    return Reason(text)


def _of_item(item: Any, depth: int) -> Reason:
    """One of several errors; what is said of a field names it."""
    reason = _reason(item, depth - 1) if depth else Reason("")
    where = item.get("loc") if isinstance(item, dict) else None
    if isinstance(where, list) and where:
        if not reason.text:
            return Reason(json.dumps([{"loc": where}], separators=(",", ":")) if _is_flat(where) else "")
        if _is_flat(where):
            return attrs.evolve(reason, text=f"{'.'.join(map(str, where))}: {reason.text}")
    return reason


def _is_flat(values: list[Any]) -> bool:
    return not any(isinstance(value, dict | list) for value in values)


def _with_raw(reason: Reason, error: dict[str, Any], depth: int) -> Reason:
    """Add the words of the server behind a router, which only says that there was an error."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str | dict) or not raw or not depth:
        return reason
    behind = _reason(raw, depth - 1)
    if not behind.text or behind.text in reason.text:
        return reason
    return Reason(f"{reason.text}: {behind.text}" if reason.text else behind.text, (*reason.codes, *behind.codes))
