"""C{openclaw models list}: the models of the configuration."""

from __future__ import annotations

import click

from openclaw.cli.models.available import model_rows, why_unavailable
from openclaw.cli.output import State, json_option, print_json, say


@click.command("list")
@click.option("--all", "_all", is_flag=True, expose_value=False, help="Accepted; all that are configured are shown.")
@click.option("--local", "only_local", is_flag=True, help="Show the embedded model only.")
@click.option("--provider", metavar="ID", help="Show the models of this provider only.")
@click.option("--plain", is_flag=True, help="Print PROVIDER/MODEL and nothing else, a line for each.")
@json_option
@click.pass_obj
def list_models(state: State, only_local: bool, provider: str | None, plain: bool) -> None:
    """List the models of the configuration."""
    config = state.load().config
    rows = [
        row
        for row in model_rows(config, state.paths.models_dir)
        if (row["local"] or not only_local) and (provider is None or row["key"].startswith(f"{provider}/"))
    ]
    if state.as_json:
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
