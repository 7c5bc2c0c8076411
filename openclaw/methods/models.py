"""C{models.list} and C{models.learned}: the models of the configuration, and what their servers taught."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

from msgspec import Meta

from openclaw.agents.resolve import agent_model_ref
from openclaw.auth.scopes import READ
from openclaw.config.models import LOCAL_PROVIDER
from openclaw.config.reload import LiveConfig
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.methods.checks import bad_param, named_agent
from openclaw.methods.session_rows import context_tokens, split_ref
from openclaw.methods.table import Call, Method, NoParams, Params
from openclaw.models import Lesson

THINKING_LEVELS = ("off", "minimal", "low", "medium", "high", "xhigh")
"""What can be asked of a model that reasons; others only know C{off}."""


class ModelsListParams(Params, frozen=True):
    """
    Parameters of C{models.list}.

    @ivar view: C{configured} or C{all}, which is the same: there is no catalogue beyond the configuration.
    @ivar agent_id: whose default the C{default} mark is about.
    @ivar session_key: accepted; every session of an agent may use the same models.
    """

    view: Annotated[str, Meta(max_length=64)] | None = None
    agent_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    session_key: Annotated[str, Meta(max_length=600)] | None = None


def model_rows(config: Config, agent_id: str | None) -> list[dict[str, Any]]:
    """All models that the configuration names, the default one of an agent, if it is given, first."""
    default, choice = None, None
    if agent_id is not None:
        default, choice = agent_model_ref(config, agent_id), config.agents.model_for(agent_id)
    fallbacks = choice.fallbacks if choice is not None else ()
    rows = {ref: _row(config, ref) for ref in _refs(config)}
    for ref, row in rows.items():
        row["tags"] = ["default"] if ref == default else ["fallback"] if ref in fallbacks else []
    return sorted(rows.values(), key=lambda row: "default" not in row["tags"])


def _refs(config: Config) -> Iterator[str]:
    """Names of the models, some of them more than once: those of the providers, then those that agents use."""
    for provider_id, provider in config.models.providers.items():
        for model in provider.models:
            yield f"{provider_id}/{model.id}"
    for agent_id in config.agents.agent_ids:
        choice = config.agents.model_for(agent_id)
        yield from choice.refs if choice is not None else (config.models.local_ref,)


def _row(config: Config, ref: str) -> dict[str, Any]:
    provider_id, model_id = split_ref(ref)
    provider = config.models.providers.get(provider_id)
    model = next((model for model in provider.models if model.id == model_id), None) if provider is not None else None
    reasons = model is not None and model.reasoning
    levels = THINKING_LEVELS if reasons else THINKING_LEVELS[:1]
    row: dict[str, Any] = {
        "id": model_id,
        "name": (model.name if model is not None else None) or model_id,
        "provider": provider_id,
        "reasoning": reasons,
        "input": list(model.input) if model is not None else ["text"],
        "thinkingLevels": [{"id": level, "label": level} for level in levels],
        "thinkingDefault": "off",
        "available": _is_available(config, ref),
        "local": provider_id == LOCAL_PROVIDER,
    }
    window = context_tokens(config, ref)
    return row if window is None else {**row, "contextWindow": window}


def _is_available(config: Config, ref: str) -> bool:
    """Whether a request to it would be tried: somebody serves it, and no environment variable is missing."""
    provider_id, model_id = split_ref(ref)
    provider = config.models.providers.get(provider_id)
    secrets: list[Secret | None] = []
    if provider is not None:
        secrets = [provider.api_key, *provider.headers.values()]
        secrets += [value for model in provider.models if model.id == model_id for value in model.headers.values()]
    missing = any(secret.missing for secret in secrets if secret is not None)
    return config.models.why_not_served(ref) is None and not missing


def model_methods(live: LiveConfig, lessons: Callable[[], Sequence[Lesson]]) -> tuple[Method, ...]:
    """
    The methods of this family.

    @param lessons: gives what servers taught since the start.
    """

    async def list_models(call: Call, params: ModelsListParams) -> dict[str, Any]:
        """The models of the configuration in force."""
        if params.view not in (None, "", "configured", "all", "default"):
            raise bad_param("models.list", "view", 'must be "configured" or "all"')
        config = live.current
        agent_id = config.agents.default_agent_id
        if params.agent_id is not None:
            agent_id = named_agent(config, "models.list", params.agent_id)
        return {"models": model_rows(config, agent_id)}

    async def learned(call: Call, params: NoParams) -> dict[str, Any]:
        """What servers refused since the start, and is not sent to them any more; oldest first."""
        return {"learned": [_lesson(lesson) for lesson in lessons()]}

    return (
        Method("models.learned", READ, NoParams, learned),
        Method("models.list", READ, ModelsListParams, list_models),
    )


def _lesson(lesson: Lesson) -> dict[str, Any]:
    return {
        "model": lesson.ref,
        "field": lesson.field,
        "setting": lesson.setting,
        "reason": lesson.reason,
        "learnedAt": int(lesson.learned_at_s * 1000),
    }
