"""Putting the files of a backup in place: all of them, or none."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

from openclaw.cli.backup.store_files import fold
from openclaw.cli.files import new_file
from openclaw.config.edit import is_read_only
from openclaw.config.paths import Paths, flush_folder
from openclaw.errors import OpenClawError

_SIDES = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a store, by the ends of their names."""


def put_in_place(wanted: Mapping[Path, Path], paths: Paths, *, force: bool) -> list[Path]:
    """
    Put files in place: all of them, or none where a file cannot be.

    What can fail for want of space is done before anything is changed.

    @param wanted: the new files, each with its place.
    @return: where what was there is kept.
    @raise OpenClawError: if something is there and C{force} is not given, or a file cannot be put in place.
    """
    if is_read_only(os.environ):
        raise OpenClawError("nothing is restored: OPENCLAW_CONFIG_READONLY is set")
    there = [place for place in wanted.values() if os.path.lexists(place)]
    for place in there:
        if place.is_symlink():
            raise OpenClawError(f"{place} is a link; move it away first")
    if there and not force:
        listed = ", ".join(map(str, there))
        raise OpenClawError(f"there is something already: {listed}; add --force to move it aside")
    stamp = _stamp(wanted.values())
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
    try:
        with new_file(ready) as file, new.open("rb") as content:
            shutil.copyfileobj(content, file)
    except BaseException:
        ready.unlink(missing_ok=True)
        raise
    return ready


def _aside(place: Path, stamp: str) -> Path:
    return place.with_name(f"{place.name}.before-restore-{stamp}")


def _stamp(places: Collection[Path]) -> str:
    """The end of the names aside: the time, with a number where such names are taken, those of side files too."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    stamps = (now if number == 1 else f"{now}-{number}" for number in count(1))
    return next(stamp for stamp in stamps if not any(map(os.path.lexists, _names(places, stamp))))


def _names(places: Collection[Path], stamp: str) -> list[str]:
    return [f"{_aside(place, stamp)}{suffix}" for place in places for suffix in ("", *_SIDES)]


def _set_aside(place: Path, stamp: str, paths: Paths, undo: ExitStack) -> list[Path]:
    """
    Give what is there a second name; the side files of a store go with it, as they belong to that store alone.

    @param undo: is told how to take it back.
    """
    aside, kept = _aside(place, stamp), []
    is_store = place == paths.store_path
    if place.exists():
        if is_store:
            # What a killed gateway left beside it comes into it, so that a crash from here on loses nothing of it.
            # One that is damaged, which may be why another one is restored, stays as it is.
            with suppress(OpenClawError):
                fold(place)
        if place.is_file():
            os.link(place, aside)
            undo.callback(aside.unlink, missing_ok=True)
        else:
            # A folder has no second name.
            place.rename(aside)
            undo.callback(aside.rename, place)
        kept = [aside]
    for suffix in _SIDES if is_store else ():
        here, there = place.with_name(place.name + suffix), aside.with_name(aside.name + suffix)
        with suppress(FileNotFoundError):
            here.rename(there)
            undo.callback(there.rename, here)
            # without its store: SQLite would play it into the one that comes
            kept = kept or [there]
    return kept


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
