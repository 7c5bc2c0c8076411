"""C{openclaw backup restore}: configuration and store of a backup in place again."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import click

from openclaw.cli.output import State, json_option
from openclaw.config.lock import StateLock
from openclaw.config.paths import Paths, ensure_state_dir
from openclaw.errors import OpenClawError


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Move what is there aside and restore in its place.")
@json_option
@click.pass_obj
def restore(state: State, path: Path, force: bool) -> None:
    """Put configuration and store of a backup in place; the gateway must not run.

    Nothing is deleted: what is there is kept beside it as NAME.before-restore-TIME.
    """
    from openclaw.cli.backup.archive import CONFIG, DOTENV, STORE, folder_in, unpack
    from openclaw.cli.backup.placing import put_in_place
    from openclaw.config.edit import locked
    from openclaw.store.migrate import load_migrations

    paths = state.paths
    ensure_state_dir(paths)
    _check_owner(paths)
    lock = StateLock(paths.lock_path)
    lock.acquire()
    try:
        with folder_in(paths.state_dir) as folder:
            manifest = unpack(path, folder)
            newest = load_migrations()[-1].version
            if manifest.schema is not None and manifest.schema > newest:
                raise OpenClawError(
                    f"{path} is of a newer version of the gateway (schema {manifest.schema}, this one knows {newest}); "
                    "install that version first"
                )
            places = {CONFIG: paths.config_path, DOTENV: paths.state_dir / ".env", STORE: paths.store_path}
            wanted = {folder / one.name: places[one.name] for one in manifest.members}
            with locked(paths.config_path):
                kept = put_in_place(wanted, paths, force=force)
    finally:
        lock.release()
    told = {"restored": [str(place) for place in wanted.values()], "kept": [str(place) for place in kept]}
    lines = [f"restored {manifest.summary}", *(f"what was there is kept: {place}" for place in kept)]
    lines.append(f"Next: {state.advice('openclaw doctor')}")
    state.show({"ok": True, "path": str(path), **told}, "\n".join(lines))


def _check_owner(paths: Paths) -> None:
    """Refuse to restore as root into the folder of another user, whose gateway could not read the files."""
    owner = paths.state_dir.stat().st_uid
    if os.geteuid() != 0 or owner == 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise OpenClawError(f"{paths.state_dir} belongs to {name}: restore as that user, with: sudo -u {name}")
