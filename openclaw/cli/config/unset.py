"""C{openclaw config unset}: one value less, checked, with comments kept."""

from __future__ import annotations

import click

from openclaw.cli.config.document import parse_path
from openclaw.cli.config.editing import apply, dry_run_option, report
from openclaw.cli.output import State, json_option


@click.command()
@click.argument("path")
@dry_run_option
@click.option("--replace", is_flag=True, help="The file may shrink to less than half.")
@json_option
@click.pass_obj
def unset(state: State, path: str, dry_run: bool, replace: bool) -> None:
    """Remove a value from the configuration file; exit 1 if there is none."""
    from openclaw.config.edit_document import without_value

    steps = parse_path(path)
    edit = apply(state, lambda document: without_value(document, steps), dry_run=dry_run, may_shrink=replace)
    report(state, edit, f"removed {path}", operations=1)
