"""C{openclaw models probe}: ask a model for a few words, without a gateway, and tell what its server does."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, clean, json_option, print_json, say
from openclaw.config.checks import MODEL_REF
from openclaw.config.models import LOCAL_PROVIDER
from openclaw.errors import OpenClawError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openclaw.config.load import LoadedConfig
    from openclaw.models import Lesson, ResolvedModel
    from openclaw.providers.probing import Limits, Spoken

PROBE_TIMEOUT_S = 60.0
"""How long each of the questions may take unless told otherwise, in seconds; a server may have to load its model."""


@click.command()
@click.argument("model", metavar="PROVIDER/MODEL")
@timeout_option(PROBE_TIMEOUT_S)
@json_option
@click.pass_obj
def probe(state: State, model: str, timeout_s: float) -> int:
    """Ask a model for a few words; tell what its server does and needs; exit 1 if it does not answer.

    It costs a few tokens, twice: the second time it is offered a tool.
    """
    fault = MODEL_REF.fault(model)
    if fault is not None:
        raise OpenClawError(f"{model[:200]}: {fault}")
    if model.partition("/")[0] == LOCAL_PROVIDER:
        raise OpenClawError("the embedded model runs in the gateway only: openclaw models status tells of it")
    loaded = state.load()
    reports: list[dict[str, Any]] = []

    async def work(reactor: Any) -> int:
        reports.append(await _probe(loaded, reactor, model, timeout_s))
        return 0

    from openclaw.cli.client.loop import run

    status = run(work)
    if status:
        raise SystemExit(status)
    report = reports[0]
    if state.as_json:
        print_json(report)
    else:
        _print(state, report)
    if not report["ok"]:
        click.echo(f"openclaw: {clean(report['error'])}", err=True)
    return 0 if report["ok"] else 1


async def _probe(loaded: LoadedConfig, reactor: Any, ref: str, timeout_s: float) -> dict[str, Any]:
    from openclaw.providers.http import DIRECT
    from openclaw.providers.probing import ask, fetch_limits
    from openclaw.providers.registry import Catalog, endpoint_of, keys_of
    from openclaw.providers.ways import WayClients, way_of

    clients = WayClients.of(reactor)
    direct = clients.client(DIRECT)
    try:
        catalog = Catalog(
            lambda: loaded.config, direct, reactor, None, lambda: loaded.environ, client_of=clients.client
        )
        model = catalog.resolve(ref)
        spoken = await ask(model, reactor, timeout_s)
        tool = await ask(model, reactor, timeout_s, with_tool=True) if spoken.error is None else None
        provider = loaded.config.models.providers[model.provider_id]
        keys = keys_of(model.provider_id, provider, loaded.environ)
        endpoint = endpoint_of(model.provider_id, provider, keys[0] if keys else None)
        client = clients.client(way_of(model.provider_id, provider, loaded.environ))
        limits = await fetch_limits(endpoint, model.model_id, client, reactor, timeout_s)
        return _report(loaded, model, spoken, tool, limits, catalog.lessons())
    finally:
        await clients.close()


def _report(
    loaded: LoadedConfig,
    model: ResolvedModel,
    spoken: Spoken,
    tool: Spoken | None,
    limits: Limits,
    lessons: Any,
) -> dict[str, Any]:
    usage = spoken.usage
    return {
        "ok": spoken.error is None,
        "model": model.ref,
        "error": spoken.error,
        "text": spoken.text,
        "finishReason": spoken.finish_reason,
        "timing": {"headMs": spoken.head_ms, "firstByteMs": spoken.first_ms, "totalMs": spoken.total_ms},
        "streaming": {"ok": spoken.pieces > 1, "pieces": spoken.pieces, "usage": usage is not None},
        "usage": None
        if usage is None
        else {"promptTokens": usage.prompt_tokens, "completionTokens": usage.completion_tokens},
        "tools": {
            "accepted": None if tool is None else tool.error is None,
            "called": tool is not None and tool.called,
            "error": None if tool is None else tool.error,
        },
        "limits": {
            "listed": limits.listed,
            "contextWindow": limits.context_window,
            "maxTokens": limits.max_tokens,
            "error": limits.error,
        },
        "configured": {"contextWindow": model.context_window, "maxTokens": model.max_tokens},
        "learned": [_learned(loaded, model, lesson) for lesson in lessons],
    }


def _learned(loaded: LoadedConfig, model: ResolvedModel, lesson: Lesson) -> Mapping[str, Any]:
    return {
        "field": lesson.field,
        "setting": lesson.setting,
        "reason": lesson.reason,
        "command": None if lesson.setting is None else _command(loaded, model, lesson.setting),
    }


def _command(loaded: LoadedConfig, model: ResolvedModel, setting: str) -> str:
    """The command that writes a setting of a model into the configuration."""
    from openclaw.config.structure import disk_path

    key, _, value = setting.partition(": ")
    steps = key.split(".")
    listed = loaded.config.models.providers[model.provider_id].models
    index = next((index for index, entry in enumerate(listed) if entry.id == model.model_id), len(listed))
    path = ("models", "providers", model.provider_id, "models", str(index))
    if index < len(listed):
        return f"openclaw config set {shlex.quote(disk_path((*path, *steps)))} {shlex.quote(value)}"
    entry = json.loads(value)
    for step in reversed(steps):
        entry = {step: entry}
    text = json.dumps({"id": model.model_id, **entry})
    return f"openclaw config set {shlex.quote(disk_path(path))} {shlex.quote(text)} --merge"


def _print(state: State, report: dict[str, Any]) -> None:
    timing, streaming, limits, tools = (report[name] for name in ("timing", "streaming", "limits", "tools"))
    if report["ok"]:
        say(f"{report['model']} says: {' '.join(report['text'].split()) or '(nothing)'}")
        first = "none" if timing["firstByteMs"] is None else f"{timing['firstByteMs']} ms"
        say(f"  time: first words after {first}, all of them after {timing['totalMs']} ms")
        usage = "usage is told" if streaming["usage"] else "no usage is told, it will be estimated"
        pieces = streaming["pieces"]
        say(f"  streaming: {'yes' if streaming['ok'] else 'not seen'}, {pieces} pieces; {usage}")
        accepted = "accepted" if tools["accepted"] else f"refused ({tools['error']})"
        say(f"  tools: {accepted}{', and called' if tools['called'] else ''}")
    else:
        say(f"{report['model']} does not answer")
    if limits["error"] is not None:
        say(f"  limits: not told ({limits['error']})")
    else:
        told = ", ".join(
            f"{name} {limits[key]:,}"
            for key, name in (("contextWindow", "context window"), ("maxTokens", "longest answer"))
            if limits[key] is not None
        )
        say(f"  limits: {told or 'none are told'}{'' if limits['listed'] else '; the server does not list this model'}")
    window, configured = limits["contextWindow"], report["configured"]["contextWindow"]
    if window is not None and window < configured:
        say(f"  warning: contextWindow is {configured:,} here, more than the server has")
    for lesson in report["learned"]:
        say(f"  left out: {lesson['field']}, as the server refuses it: {lesson['reason']}")
        if lesson["command"] is not None:
            say(f"    to say so for good: {state.advice(lesson['command'])}")
