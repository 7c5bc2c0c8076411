"""C{openclaw backup verify}: whether a backup is whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from openclaw.cli.output import State, json_option


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def verify(state: State, path: Path) -> None:
    """Check every part of a backup; exit 1 if one is damaged."""
    from openclaw.cli.backup.archive import folder_in, unpack

    with folder_in(path.parent if os.access(path.parent, os.W_OK) else Path(tempfile.gettempdir())) as folder:
        manifest = unpack(path, folder)
    told = {"ok": True, "path": str(path), **manifest.as_json()}
    state.show(told, f"{path} is whole: {manifest.summary}")
