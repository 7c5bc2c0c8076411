"""How a server is told how much to think."""

from __future__ import annotations

from typing import Any

from openclaw.models import ThinkingForm

_LADDER = ("minimal", "low", "medium", "high", "xhigh", "max")
_OFF = ("none", "off")


def thinking_fields(form: ThinkingForm, effort: str | None) -> dict[str, Any]:
    """
    The fields of a call's body that say how much to think.

    @param effort: a level as the client asks for it; C{none} and C{off} are no thinking at all.  Without one nothing
        is said, and the server decides.
    """
    if effort is None:
        return {}
    on = effort not in _OFF
    word = _word(form, effort)
    said = {"reasoning_effort": word} if word is not None and form.takes_effort else {}
    match form.format:
        case "openai":
            return said
        case "openrouter":
            return {"reasoning": {"effort": word if on else "none"}} if word is not None else {}
        case "deepseek":
            return {"thinking": {"type": "enabled" if on else "disabled"}, **(said if on else {})}
        case "zai":
            return {"thinking": {"type": "enabled" if on else "disabled"}}
        case "together":
            # Most of its models only know on and off; whoever lists words has one that knows more.
            return {"reasoning": {"enabled": on}, **(said if on and form.efforts else {})}
        case "qwen":
            return {"enable_thinking": on}
        case "qwen-chat-template":
            return {"chat_template_kwargs": {"enable_thinking": on}}


def _word(form: ThinkingForm, effort: str) -> str | None:
    """The server's word for a level; C{None} if it is told nothing."""
    for name in _OFF if effort in _OFF else (effort,):
        if name in form.words:
            return form.words[name]
    if not form.efforts or effort in form.efforts:
        return effort
    if effort in _OFF:
        return next((word for word in _OFF if word in form.efforts), None)
    known = [word for word in form.efforts if word in _LADDER]
    if effort not in _LADDER or not known:
        return effort
    wanted = _LADDER.index(effort)
    return min(known, key=lambda word: (abs(_LADDER.index(word) - wanted), _LADDER.index(word)))
