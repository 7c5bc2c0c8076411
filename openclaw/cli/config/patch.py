"""C{openclaw config patch}: an object merged into the file, checked, with comments kept."""

from __future__ import annotations

from pathlib import Path

import click

from openclaw.cli.config.document import parse_path
from openclaw.cli.config.editing import apply, dry_run_option, report
from openclaw.cli.given import read_json5, read_text
from openclaw.cli.output import State, json_option

MAX_PATCH_BYTES = 2 * 1024 * 1024
"""Largest patch, bytes."""


@click.command()
@click.option("--file", "source", type=click.Path(path_type=Path), help="A JSON5 file with the changes.")
@click.option("--stdin", is_flag=True, help="Read the changes from standard input.")
@click.option("--replace-path", "replace_paths", multiple=True, metavar="PATH", help="A list to replace as a whole.")
@dry_run_option
@json_option
@click.pass_obj
def patch(state: State, source: Path | None, stdin: bool, replace_paths: tuple[str, ...], dry_run: bool) -> None:
    """Merge an object into the configuration file: null removes, lists of objects with an id are merged by it."""
    from openclaw.config.edit_document import merged

    if (source is not None) == stdin:
        raise click.UsageError("give --file or --stdin")
    name = str(source or "standard input")
    changes = read_json5(read_text(source, name, MAX_PATCH_BYTES), name)
    steps = [parse_path(path) for path in replace_paths]
    edit = apply(state, lambda document: merged(document, changes, steps), dry_run=dry_run)
    report(state, edit, f"merged {', '.join(changes) or 'nothing'}", operations=1)
