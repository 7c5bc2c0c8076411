"""The models of a configuration, and which of them would answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openclaw.agents.resolve import agent_model_ref
from openclaw.config.schema import Config
from openclaw.errors import StartError
from openclaw.providers.weights import locate


def why_unavailable(config: Config, row: dict[str, Any]) -> str:
    """What to do about a model that would not answer."""
    local = config.models.local
    reason = config.models.why_not_served(row["key"])
    if reason is not None:
        return reason
    if local.path is not None:
        return "models.local.path names no GGUF file"
    return f"not fetched: openclaw models pull {local.model}"


def model_rows(config: Config, models_dir: Path) -> list[dict[str, Any]]:
    """The models as the original's C{models list --json} has them."""
    used = {agent_model_ref(config, agent_id) for agent_id in config.agents.agent_ids}
    rows = [
        _row(f"{provider_id}/{model.id}", model.name or model.id, list(model.input), model.context_window, used)
        for provider_id, provider in config.models.providers.items()
        for model in provider.models
    ]
    local = config.models.local
    row = _row(config.models.local_ref, local.model, ["text"], local.context_tokens, used)
    rows.append({**row, "local": True, "available": _is_fetched(config, models_dir)})
    known = {row["key"] for row in rows}
    for ref in sorted(used - known):
        row = _row(ref, ref, ["text"], 0, used)
        rows.append({**row, "available": config.models.why_not_served(ref) is None})
    return rows


def _row(key: str, name: str, inputs: list[str], context_window: int, used: set[str]) -> dict[str, Any]:
    return {
        "key": key,
        "name": name,
        "input": "+".join(inputs) or "text",
        "contextWindow": context_window,
        "local": False,
        "available": True,
        "tags": ["default"] if key in used else [],
    }


def _is_fetched(config: Config, models_dir: Path) -> bool:
    local = config.models.local
    try:
        locate(models_dir, local.model, Path(local.path) if local.path is not None else None)
    except StartError:
        return False
    return True
