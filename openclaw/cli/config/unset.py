"""C{openclaw config unset}: remove a value of the configuration file."""

from __future__ import annotations

import click

from openclaw.cli.config.document import parse_path
from openclaw.cli.config.editing import apply, report
from openclaw.cli.output import State, json_option


@click.command()
@click.argument("path")
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@click.option("--replace", is_flag=True, help="The file may shrink to less than half.")
@json_option
@click.pass_obj
def unset(state: State, path: str, dry_run: bool, replace: bool, as_json: bool) -> None:
    """Remove a value from the configuration file; exit 1 if there is none."""
    from openclaw.config.edit_document import without_value

    steps = parse_path(path)
    edit = apply(state, lambda document: without_value(document, steps), dry_run=dry_run, may_shrink=replace)
    report(edit, f"removed {path}", as_json=as_json, operations=1)
