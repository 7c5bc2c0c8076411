"""Where the configuration and the state lie."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import attrs

from openclaw.errors import StartError

_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@attrs.frozen
class Paths:
    """
    The places of one installation.

    @ivar home: what C{~} means.
    @ivar state_dir: everything that is ours or the original's.
    @ivar store_path: the database.
    @ivar models_dir: weights of embedded models.
    @ivar lock_path: held while a gateway runs.
    """

    home: Path
    state_dir: Path
    config_path: Path
    store_path: Path
    models_dir: Path
    lock_path: Path
    log_dir: Path


def resolve_paths(environ: Mapping[str, str], profile: str | None = None) -> Paths:
    """
    Find the places that the environment says.

    C{OPENCLAW_HOME} takes the place of C{HOME}; C{OPENCLAW_STATE_DIR} is the state folder, else C{~/.openclaw} or,
    with a profile x, C{~/.openclaw-x}; C{OPENCLAW_CONFIG_PATH} is the file, else C{openclaw.json} in the state folder.

    @param profile: the command line's C{--profile}; without it C{OPENCLAW_PROFILE}.
    @raise StartError: if there is no home, or the profile's name cannot be a folder's.
    """
    home = _home(environ)
    named = profile if profile is not None else environ.get("OPENCLAW_PROFILE", "").strip()
    if named and not _PROFILE.fullmatch(named):
        source = "--profile" if profile is not None else "OPENCLAW_PROFILE"
        raise StartError(f"{source}: expected 1 to 64 letters, digits, _ and -, got {named[:80]!r}")
    suffix = "" if named.lower() in ("", "default") else f"-{named}"
    state_dir = _place(environ, "OPENCLAW_STATE_DIR", home) or home / f".openclaw{suffix}"
    return Paths(
        home=home,
        state_dir=state_dir,
        config_path=_place(environ, "OPENCLAW_CONFIG_PATH", home) or state_dir / "openclaw.json",
        store_path=state_dir / "gateway.sqlite",
        models_dir=state_dir / "models",
        lock_path=state_dir / "gateway.lock",
        log_dir=state_dir / "logs",
    )


def _home(environ: Mapping[str, str]) -> Path:
    given = environ.get("OPENCLAW_HOME", "").strip() or environ.get("HOME", "").strip()
    try:
        # without HOME the user database knows; the service managers of some systems set none
        return (Path(given) if given else Path("~")).expanduser().absolute()
    except RuntimeError:
        raise StartError("no home folder: set HOME or OPENCLAW_STATE_DIR") from None


def _place(environ: Mapping[str, str], name: str, home: Path) -> Path | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if text == "~" or text.startswith("~/"):
        return (home / text[1:].lstrip("/")).absolute()
    return Path(text).absolute()


def ensure_state_dir(paths: Paths) -> None:
    """
    Make the state folder, open to its owner only; an existing one is left as it is.  Blocks.

    @raise StartError: if it cannot be made or written to.
    """
    folder = paths.state_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise StartError(f"the state folder {folder} is not a folder; set OPENCLAW_STATE_DIR") from None
    except OSError as error:
        raise StartError(
            f"the state folder {folder} cannot be written: {error.strerror}; set OPENCLAW_STATE_DIR"
        ) from None


def flush_folder(folder: Path) -> None:
    """
    Make sure that a new name in a folder is on the disk.  Blocks.

    @raise OSError: if that fails.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
