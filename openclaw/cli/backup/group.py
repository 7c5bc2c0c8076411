"""C{openclaw backup}: copy configuration and store, check a copy, put one back."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openclaw.cli.output import State, json_option, print_json, terminating
from openclaw.cli.tables import say
from openclaw.errors import OpenClawError

if TYPE_CHECKING:
    from openclaw.cli.backup.archive import Manifest
    from openclaw.config.paths import Paths

_path_argument = click.argument("path", type=click.Path(path_type=Path))


@click.group()
def backup() -> None:
    """Copy configuration and store; verify and restore a copy."""


@backup.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--include-secrets", is_flag=True, help="Take the .env of the state folder too.")
@json_option
@click.pass_obj
def create(state: State, path: Path | None, include_secrets: bool, as_json: bool) -> None:
    """Write configuration and store into one file, also while the gateway runs.

    PATH is a file or a folder; without it openclaw-backup-TIME.tar.gz in this folder. The file is readable by its
    owner only: the configuration may hold secrets, and the store holds every conversation.
    """
    from openclaw.cli.backup.archive import CONFIG, DOTENV, STORE, write_archive
    from openclaw.cli.backup.store_files import copy_store, look_at_store
    from openclaw.config.load import MAX_CONFIG_BYTES, MAX_DOTENV_BYTES

    paths, now = state.paths, time.gmtime()
    name = f"openclaw-backup-{time.strftime('%Y%m%dT%H%M%SZ', now)}.tar.gz"
    target = Path.cwd() / name if path is None else path / name if path.is_dir() else path
    if os.path.lexists(target):
        raise OpenClawError(f"{target} exists already; name another file")
    schema = None
    with _folder(target.parent) as folder:
        files: dict[str, Path] = {}
        if _copied(paths.config_path, folder / CONFIG, MAX_CONFIG_BYTES):
            files[CONFIG] = folder / CONFIG
        if include_secrets and _copied(paths.state_dir / ".env", folder / DOTENV, MAX_DOTENV_BYTES):
            files[DOTENV] = folder / DOTENV
        if paths.store_path.exists():
            copy_store(paths.store_path, folder / STORE)
            schema = look_at_store(folder / STORE, thorough=False, immutable=True).version
            files[STORE] = folder / STORE
        if not files:
            raise OpenClawError(f"there is nothing to back up: neither {paths.config_path} nor {paths.store_path}")
        manifest = write_archive(target, files, time.strftime("%Y-%m-%dT%H:%M:%SZ", now), schema)
    left_out = ["logs", "models", "workspaces", *([] if include_secrets else [".env"])]
    if as_json:
        print_json({"ok": True, "path": str(target), **manifest.as_json(), "notIncluded": left_out})
        return
    click.echo(f"wrote {target} ({target.stat().st_size:,} bytes): {', '.join(files)}")
    click.echo(f"not in it: {', '.join(left_out)}")
    click.echo("It holds secrets and conversations, and is readable by you alone: keep it so.")


@backup.command()
@_path_argument
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Check every part of a backup; exit 1 if one is damaged."""
    from openclaw.cli.backup.archive import unpack

    with _folder(path.parent if os.access(path.parent, os.W_OK) else Path(tempfile.gettempdir())) as folder:
        manifest = unpack(path, folder)
    if as_json:
        print_json({"ok": True, "path": str(path), **manifest.as_json()})
    else:
        say(f"{path} is whole: {_described(manifest)}")


@backup.command()
@_path_argument
@click.option("--force", is_flag=True, help="Move what is there aside and restore in its place.")
@json_option
@click.pass_obj
def restore(state: State, path: Path, force: bool, as_json: bool) -> None:
    """Put configuration and store of a backup in place; the gateway must not run.

    Nothing is deleted: what is there is kept beside it as NAME.before-restore-TIME.
    """
    from openclaw.cli.backup.archive import CONFIG, DOTENV, STORE, unpack
    from openclaw.config.edit import locked
    from openclaw.config.lock import StateLock
    from openclaw.config.paths import ensure_state_dir
    from openclaw.store.migrate import load_migrations

    paths = state.paths
    ensure_state_dir(paths)
    _check_owner(paths)
    lock = StateLock(paths.lock_path)
    lock.acquire()
    try:
        with _folder(paths.state_dir) as folder:
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
                kept = _put_in_place(wanted, paths, force=force)
    finally:
        lock.release()
    if as_json:
        print_json(
            {
                "ok": True,
                "path": str(path),
                "restored": [str(place) for place in wanted.values()],
                "kept": [str(place) for place in kept],
            }
        )
        return
    say(f"restored {_described(manifest)}")
    for place in kept:
        click.echo(f"what was there is kept: {place}")
    click.echo(f"Next: {state.advice('openclaw doctor')}")


def _check_owner(paths: Paths) -> None:
    """
    See that what is restored will be the gateway's.

    @raise OpenClawError: if root restores into the folder of another user, whose gateway could not read the files.
    """
    import pwd

    owner = paths.state_dir.stat().st_uid
    if os.geteuid() != 0 or owner == 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise OpenClawError(f"{paths.state_dir} belongs to {name}: restore as that user, with: sudo -u {name}")


def _described(manifest: Manifest) -> str:
    names = ", ".join(f"{one.name} ({one.size_bytes:,} bytes)" for one in manifest.members)
    return f"{names}, made {manifest.created_at} by openclaw {manifest.program}"


@contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    """A folder of our own beside what is written, gone afterwards, also if a signal ends us."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=".openclaw-backup-", dir=parent)
    except OSError as error:
        raise OpenClawError(f"{parent} cannot be written: {error.strerror}") from None
    with terminating(), folder as name:
        yield Path(name)


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


def _put_in_place(wanted: Mapping[Path, Path], paths: Paths, *, force: bool) -> list[Path]:
    """
    Put files in place: all of them, or none where a file cannot be.

    What can fail for want of space is done before anything is changed.

    @param wanted: the new files, each with its place.
    @return: where what was there is kept.
    @raise OpenClawError: if something is there and C{force} is not given, or a file cannot be put in place.
    """
    from openclaw.config.edit import flush_folder, is_read_only

    if is_read_only(os.environ):
        raise OpenClawError("nothing is restored: OPENCLAW_CONFIG_READONLY is set")
    there = [place for place in wanted.values() if os.path.lexists(place)]
    for place in there:
        if place.is_symlink() or not place.is_file():
            raise OpenClawError(f"{place} is a link or no file; move it away first")
    if there and not force:
        listed = ", ".join(map(str, there))
        raise OpenClawError(f"there is something already: {listed}; add --force to move it aside")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    try:
        with ExitStack() as drafts:
            ready = {}
            for new, place in wanted.items():
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                ready[place] = _beside(new, place)
                drafts.callback(ready[place].unlink, missing_ok=True)
            with ExitStack() as undo:
                kept = [kept for place in ready for kept in _set_aside(place, stamp, paths, undo)]
                for place, draft in ready.items():
                    _replace(draft, place, stamp, undo)
                undo.pop_all()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise OpenClawError(
            f"the backup cannot be put in place: {where}{error.strerror}; everything is as it was"
        ) from None
    for folder in {place.parent for place in ready}:
        try:
            flush_folder(folder)
        except OSError as error:
            raise OpenClawError(f"the backup is in place, but {folder} cannot be flushed: {error.strerror}") from None
    return kept


def _beside(new: Path, place: Path) -> Path:
    """The new file in the folder of its place, whence it can be renamed."""
    if new.stat().st_dev == place.parent.stat().st_dev:
        return new
    ready = place.with_name(f".{place.name}.{new.parent.name}")
    descriptor = os.open(ready, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file, new.open("rb") as content:
            while chunk := content.read(1 << 20):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        ready.unlink()
        raise
    return ready


def _aside(place: Path, stamp: str) -> Path:
    return place.with_name(f"{place.name}.before-restore-{stamp}")


def _set_aside(place: Path, stamp: str, paths: Paths, undo: ExitStack) -> list[Path]:
    """
    Give what is there a second name; the side files of a store go with it, as they belong to that store alone.

    @param undo: is told how to take it back.
    """
    aside, kept = _aside(place, stamp), []
    is_store = place == paths.store_path
    if place.exists():
        if is_store:
            _fold(place)
        os.link(place, aside)
        undo.callback(aside.unlink, missing_ok=True)
        kept = [aside]
    for suffix in ("-wal", "-shm", "-journal") if is_store else ():
        here, there = place.with_name(place.name + suffix), aside.with_name(aside.name + suffix)
        with suppress(FileNotFoundError):
            here.rename(there)
            undo.callback(there.rename, here)
            # without its store: SQLite would play it into the one that comes
            kept = kept or [there]
    return kept


def _fold(store: Path) -> None:
    """
    Bring what a killed gateway left beside its store into it, so that a crash from here on loses nothing of it.

    A store that is damaged, which may be why another one is restored, stays as it is.
    """
    from openclaw.cli.backup.store_files import fold

    with suppress(OpenClawError):
        fold(store)


def _replace(draft: Path, place: Path, stamp: str, undo: ExitStack) -> None:
    """Put a file in place; C{undo} is told how to take it back."""
    was_there = place.exists()
    draft.replace(place)
    if was_there:
        # by a second link, as the name aside is removed on its own
        undo.callback(_relink, _aside(place, stamp), place)
    else:
        undo.callback(place.unlink, missing_ok=True)


def _relink(aside: Path, place: Path) -> None:
    spare = aside.with_name(f"{aside.name}.back")
    os.link(aside, spare)
    spare.replace(place)
