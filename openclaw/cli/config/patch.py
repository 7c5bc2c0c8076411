"""C{openclaw config patch}: merge an object into the configuration file."""

from __future__ import annotations

from pathlib import Path

import click

from openclaw.cli.config.document import parse_path
from openclaw.cli.config.editing import apply, report
from openclaw.cli.given import read_json5, read_text
from openclaw.cli.output import State, json_option

MAX_PATCH_BYTES = 2 * 1024 * 1024
"""Largest patch, bytes."""


@click.command()
@click.option("--file", "source", type=click.Path(path_type=Path), help="A JSON5 file with the changes.")
@click.option("--stdin", is_flag=True, help="Read the changes from standard input.")
@click.option("--replace-path", "replace_paths", multiple=True, metavar="PATH", help="A list to replace as a whole.")
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@json_option
@click.pass_obj
def patch(
    state: State, source: Path | None, stdin: bool, replace_paths: tuple[str, ...], dry_run: bool, as_json: bool
) -> None:
    """Merge an object into the configuration file: null removes, lists of objects with an id are merged by it."""
    from openclaw.config.edit_document import merged

    changes = read_json5(_patch_text(source, stdin), str(source or "standard input"))
    steps = [parse_path(path) for path in replace_paths]
    edit = apply(state, lambda document: merged(document, changes, steps), dry_run=dry_run)
    report(edit, f"merged {', '.join(changes) or 'nothing'}", as_json=as_json, operations=1)


def _patch_text(source: Path | None, stdin: bool) -> str:
    if (source is not None) == stdin:
        raise click.UsageError("give --file or --stdin")
    return read_text(source, str(source or "standard input"), MAX_PATCH_BYTES)
