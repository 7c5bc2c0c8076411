"""C{openclaw models}: what there is, and the embedded model's weights."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from openclaw.cli.lazy import LazyGroup
from openclaw.cli.output import State, json_option, print_json
from openclaw.cli.tables import say
from openclaw.errors import StartError

if TYPE_CHECKING:
    from openclaw.config.schema import Config

BAR_WIDTH = 30
"""Length of a progress bar, characters."""


COMMANDS = {
    "set": ("openclaw.cli.models.set", "set_model", "Choose the default model."),
    "status": ("openclaw.cli.models.status", "status", "Show which models agents use, and what they lack."),
}
"""The commands besides those below."""


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def models() -> None:
    """List and choose models; fetch the embedded one."""


@models.command("list")
@click.option("--all", "_all", is_flag=True, expose_value=False, help="Accepted; all that are configured are shown.")
@click.option("--local", "only_local", is_flag=True, help="Show the embedded model only.")
@click.option("--provider", metavar="ID", help="Show the models of this provider only.")
@click.option("--plain", is_flag=True, help="Print PROVIDER/MODEL and nothing else, a line for each.")
@json_option
@click.pass_obj
def list_models(state: State, only_local: bool, provider: str | None, plain: bool, as_json: bool) -> None:
    """List the models of the configuration."""
    config = state.load().config
    rows = [
        row
        for row in model_rows(config, state.paths.models_dir)
        if (row["local"] or not only_local) and (provider is None or row["key"].startswith(f"{provider}/"))
    ]
    if as_json:
        print_json({"count": len(rows), "models": rows})
        return
    if plain:
        for row in rows:
            say(row["key"])
        return
    if not rows:
        say("no such model is configured")
        return
    width = max(len(row["key"]) for row in rows)
    for row in rows:
        tags = f"  [{', '.join(row['tags'])}]" if row["tags"] else ""
        window = f"{row['contextWindow']:>9,} tokens" if row["contextWindow"] else f"{'?':>9} tokens"
        trouble = "" if row["available"] else f"  ({state.advice(why_unavailable(config, row))})"
        click.echo(f"{row['key']:<{width}}{window}{tags}{trouble}")


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
    from openclaw.agents.resolve import agent_model_ref

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
    from openclaw.providers.weights import locate

    local = config.models.local
    try:
        locate(models_dir, local.model, Path(local.path) if local.path is not None else None)
    except StartError:
        return False
    return True


@models.command()
@click.argument("name")
@json_option
@click.pass_obj
def pull(state: State, name: str, as_json: bool) -> None:
    """Fetch the weights of an embedded model into the state folder."""
    path = fetch_weights(state, name)
    if as_json:
        print_json({"ok": True, "model": name, "path": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(f"{name} is there: {path}")


def fetch_weights(state: State, name: str) -> Path:
    """
    Fetch weights unless they are there and whole, with a progress bar on a terminal.

    @return: their file.
    @raise openclaw.errors.StartError: if they cannot be had, with what to do.
    """
    from openclaw.config.paths import ensure_state_dir
    from openclaw.providers.weights import looks_complete, pull, weights_named, weights_path

    weights = weights_named(name)
    path = weights_path(state.paths.models_dir, name)
    if looks_complete(path, weights):
        return path
    ensure_state_dir(state.paths)
    click.echo(f"fetching {name} ({weights.size_bytes / 1e6:.0f} MB) ...", err=True)
    try:
        return pull(weights, state.paths.models_dir, progress_printer(sys.stderr))
    except BaseException:
        if sys.stderr.isatty():
            click.echo(err=True)  # what is told next begins a line of its own, not at the end of the bar
        raise


def progress_printer(stream: TextIO, now: Callable[[], float] = time.monotonic) -> Callable[[int, int | None], None]:
    """
    Something to be told of progress: a bar that is drawn anew on a terminal, a line now and then elsewhere.

    @param stream: where to print.
    """
    interactive = bool(stream.isatty())
    every_s = 0.1 if interactive else 5.0
    last_s = now() - every_s

    def show(done: int, total: int | None) -> None:
        """So many bytes are there, of so many if that is known."""
        nonlocal last_s
        complete = total is not None and done >= total
        if not complete and now() - last_s < every_s:
            return
        last_s = now()
        size = f"{done / 1e6:.1f} / {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
        if interactive:
            share = min(done / total, 1.0) if total else 0.0
            stream.write(f"\r[{'#' * int(share * BAR_WIDTH):<{BAR_WIDTH}}] {size}" + ("\n" if complete else ""))
        else:
            stream.write(f"  {size}\n")
        stream.flush()

    return show
