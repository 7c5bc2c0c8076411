"""C{openclaw backup create}: configuration and store in one file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from openclaw.cli.output import State, json_option
from openclaw.errors import OpenClawError


@click.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--include-secrets", is_flag=True, help="Take the .env of the state folder too.")
@json_option
@click.pass_obj
def create(state: State, path: Path | None, include_secrets: bool) -> None:
    """Write configuration and store into one file, also while the gateway runs.

    PATH is a file or a folder; without it openclaw-backup-TIME.tar.gz in this folder. The file is readable by its
    owner only: the configuration may hold secrets, and the store holds every conversation.
    """
    from openclaw.cli.backup.archive import CONFIG, DOTENV, STORE, folder_in, write_archive
    from openclaw.cli.backup.store_files import copy_store, look_at_store
    from openclaw.config.load import MAX_CONFIG_BYTES, MAX_DOTENV_BYTES

    paths, now = state.paths, time.gmtime()
    name = f"openclaw-backup-{time.strftime('%Y%m%dT%H%M%SZ', now)}.tar.gz"
    target = Path.cwd() / name if path is None else path / name if path.is_dir() else path
    if os.path.lexists(target):
        raise OpenClawError(f"{target} exists already; name another file")
    schema = None
    with folder_in(target.parent) as folder:
        files: dict[str, Path] = {}
        if _copied(paths.config_path, folder / CONFIG, MAX_CONFIG_BYTES):
            files[CONFIG] = folder / CONFIG
        if include_secrets and _copied(paths.state_dir / ".env", folder / DOTENV, MAX_DOTENV_BYTES):
            files[DOTENV] = folder / DOTENV
        if paths.store_path.exists():
            copy_store(paths.store_path, folder / STORE)
            copy = folder / STORE
            schema = look_at_store(copy, thorough=False, immutable=True, place=paths.store_path).version
            files[STORE] = folder / STORE
        if not files:
            raise OpenClawError(f"there is nothing to back up: neither {paths.config_path} nor {paths.store_path}")
        manifest = write_archive(target, files, time.strftime("%Y-%m-%dT%H:%M:%SZ", now), schema)
    left_out = ["logs", "models", "workspaces", *([] if include_secrets else [".env"])]
    state.show(
        {"ok": True, "path": str(target), **manifest.as_json(), "notIncluded": left_out},
        f"wrote {target} ({target.stat().st_size:,} bytes): {', '.join(files)}\n"
        f"not in it: {', '.join(left_out)}\n"
        "It holds secrets and conversations, and is readable by you alone: keep it so.",
    )


def _copied(path: Path, target: Path, max_bytes: int) -> bool:
    """Copy a file as it is at one moment; false if there is none."""
    from openclaw.config.load import read_regular

    found = read_regular(path, max_bytes)
    if found is None:
        return False
    try:
        target.touch(0o600)
        target.write_bytes(found[0])
    except OSError as error:
        raise OpenClawError(f"{target.parent} cannot be written: {error.strerror}") from None
    return True
