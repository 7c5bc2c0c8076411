"""C{openclaw backup verify}: whether a backup is whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from openclaw.cli.output import json_option, print_json
from openclaw.cli.tables import say


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Check every part of a backup; exit 1 if one is damaged."""
    from openclaw.cli.backup.archive import folder_in, unpack

    with folder_in(path.parent if os.access(path.parent, os.W_OK) else Path(tempfile.gettempdir())) as folder:
        manifest = unpack(path, folder)
    if as_json:
        print_json({"ok": True, "path": str(path), **manifest.as_json()})
    else:
        say(f"{path} is whole: {manifest.summary}")
