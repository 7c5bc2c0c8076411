"""
Notice edits of the configuration file while the gateway runs.

Only the value of the credential takes effect at once; what else is changed is named in the log and needs a restart.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from openclaw.config.auth_mode import effective_auth
from openclaw.config.load import LoadedConfig, load_config
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.config.structure import disk_name, disk_path
from openclaw.errors import ConfigError, StartError
from openclaw.interfaces import Clock

POLL_INTERVAL_S = 0.5
"""Seconds between two looks at the file."""

_log = Logger()

Fingerprint = tuple[int, int, int]
"""Time of change in nanoseconds, size and inode."""

ReadInThread = Callable[..., "Deferred[Any]"]
"""Calls a function with arguments in a thread, as C{deferToThread} does."""


class LiveConfig:
    """
    The configuration that applies now.

    Whoever needs a setting that can change reads it from C{current} when it is needed.
    """

    def __init__(self, config: Config) -> None:
        self._current = config

    @property
    def current(self) -> Config:
        """The configuration that applies now."""
        return self._current

    def replace(self, config: Config) -> None:
        """Let another one apply from now on."""
        self._current = config


@attrs.frozen
class _Look:
    """What one look at the file found: nothing new, a configuration, or an error."""

    fingerprint: Fingerprint | None
    loaded: LoadedConfig | None = None
    error: ConfigError | None = None


def _fingerprint(path: Path) -> Fingerprint | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class ConfigWatcher(Service):
    """
    Looks at the file twice a second and applies what can be applied.

    @param live: what is kept up to date.
    @param environ: the environment as L{load_config} takes it.
    @param clock: when to look.
    @param read_in_thread: reads the file; its work is not interrupted by a stop, which waits for it.
    @param state_dir: as L{load_config} takes it.
    @param as_run: what the command line makes of the file's configuration, as it made C{live} at the start: only so
        can the two be compared.
    """

    def __init__(
        self,
        live: LiveConfig,
        path: Path,
        environ: Mapping[str, str],
        clock: Clock,
        read_in_thread: ReadInThread,
        state_dir: Path | None = None,
        as_run: Callable[[Config], Config] = lambda config: config,
    ) -> None:
        self._live = live
        self._started_with = live.current
        self._as_run = as_run
        self._path = path
        self._environ = environ
        self._read_in_thread = read_in_thread
        self._state_dir = state_dir
        self._seen: Fingerprint | None = None
        self._pending: tuple[str, ...] = ()
        self._looping: LoopingCall = LoopingCall(self._poll)
        self._looping.clock = clock  # type: ignore[assignment]
        self._ended: Deferred[Any] = succeed(None)

    def startService(self) -> None:
        """Begin, unless C{gateway.reload.mode} is C{off}."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._live.current.gateway.reload.mode == "off":
            return
        self._ended = self._looping.start(POLL_INTERVAL_S)

    def stopService(self) -> Deferred[None]:
        """
        End.

        @return: fires when a look under way is over; what it finds is not applied.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looping.running:
            self._looping.stop()
        return self._ended

    def _poll(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._look_and_apply())

    async def _look_and_apply(self) -> None:
        try:
            look: _Look = await self._read_in_thread(self._look, self._seen)
            if self.running and look.fingerprint != self._seen:
                self._seen = look.fingerprint
                self._judge(look)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the watch must outlive whatever one look meets
            _log.failure("looking at the configuration failed; the running one stays")

    def _look(self, seen: Fingerprint | None) -> _Look:
        """In the thread: read the file if it is another one than the last time."""
        fingerprint = _fingerprint(self._path)
        if fingerprint is None or fingerprint == seen:
            return _Look(fingerprint)
        try:
            return _Look(fingerprint, loaded=load_config(self._path, self._environ, self._state_dir))
        except ConfigError as error:
            return _Look(fingerprint, error=error)

    def _judge(self, look: _Look) -> None:
        if look.error is not None:
            _log.error(
                "config reload skipped (invalid config), the running one stays: {problems}",
                problems="; ".join(look.error.problems),
            )
        elif look.loaded is None or not look.loaded.exists:
            _log.warn("the configuration file is gone; the running configuration stays")
        else:
            self._apply(self._as_run(look.loaded.config), look.loaded.environ)

    def _apply(self, config: Config, environ: Mapping[str, str]) -> None:
        """Apply the credential, and tell what else differs from the running configuration."""
        settled, applied = self._apply_credential(config, environ)
        pending = tuple(key for key in changed_keys(self._started_with, config) if key != settled)
        if applied or pending != self._pending:
            _log.info(
                "config change: applied: {applied}; needs a restart: {pending}",
                applied=settled if applied else "nothing",
                pending=", ".join(pending) or "nothing",
            )
        self._pending = pending

    def _apply_credential(self, edited: Config, environ: Mapping[str, str]) -> tuple[str | None, bool]:
        """
        Take the new value of the token or password over.

        @return: the key that is as the file wants it, and whether it had to be changed for that.
        """
        current = self._live.current
        try:
            old = effective_auth(current, environ)
            new = effective_auth(edited, environ)
        except (ConfigError, StartError) as error:
            _log.error("config reload: the credential stays as it was: {reason}", reason=error.message)
            return None, False
        if new.mode != old.mode or new.secret is None:
            return None, False
        key = f"gateway.auth.{new.mode}"
        if new.secret == old.secret:
            return key, False
        # the secret itself, wherever it came from: the environment that the file falls back on may be a newer one
        # than the gateway's
        changes: dict[str, Any] = {new.mode: new.secret}
        auth = attrs.evolve(current.gateway.auth, **changes)
        config = attrs.evolve(current, gateway=attrs.evolve(current.gateway, auth=auth))
        self._live.replace(config)
        return key, True


def changed_keys(old: object, new: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of the settings in which two configurations differ; never their values."""
    if old == new:
        return
    kind: Any = type(old)
    if attrs.has(kind) and kind is type(new) and kind is not Secret:
        for field in attrs.fields(kind):
            below = (*path, disk_name(field))
            yield from changed_keys(getattr(old, field.name), getattr(new, field.name), below)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from changed_keys(old.get(key), new.get(key), (*path, key))
    else:
        yield disk_path(path)
