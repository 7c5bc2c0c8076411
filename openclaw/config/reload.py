"""
Notice edits of the configuration while the gateway runs, and apply what needs no restart.

The file is parsed whole; one that is not valid changes nothing.  L{openclaw.config.reload_rules} says what of an edit
applies at once; the rest is pending: named in the log and in L{LiveConfig.pending} until the gateway is started again.
A run keeps the configuration that it began with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger

from openclaw.config.auth_mode import effective_auth
from openclaw.config.load import MAX_CONFIG_BYTES, LoadedConfig, load_config
from openclaw.config.reload_rules import changed_keys, effect_of, local_refs, needs_local_model, with_hot_changes
from openclaw.config.schema import Config
from openclaw.errors import ConfigError, StartError
from openclaw.interfaces import Clock
from openclaw.waits import looping

POLL_INTERVAL_S = 0.3
"""Seconds between two looks at the files; an edit is judged at the second look that finds the same."""

MAX_WAIT_S = 5.0
"""For how long a file may change at every look before what can be read of it is judged all the same, in seconds."""

READS_IN_PASSING = 5
"""How often such a file is read in one look at most, until it is the same before and after."""

MAX_KEYS_TOLD = 20
"""How many keys a line of the log names at most."""

DOTENV_KEY = ".env"
"""What an edit of C{<state>/.env} is called among the applied keys."""

_log = Logger()

FileState = tuple[int, int, int]
"""Time of change in nanoseconds, size and inode."""

Fingerprint = tuple[FileState | None, FileState | None]
"""The states of the configuration file and of C{.env}; C{None} for one that is not there."""

ReadInThread = Callable[..., "Deferred[Any]"]
"""Calls a function with arguments in a thread, as C{deferToThread} does."""


@attrs.frozen
class LastReload:
    """
    What became of the last edit.

    @ivar status: C{applied}: all of it applies but what is pending; C{invalid}: it cannot be used and the running
        configuration stays; C{gone}: there is no file any more, and the running configuration stays.
    @ivar at_s: when it was judged, seconds since 1970.
    @ivar applied: the keys whose new value applies; never values.
    @ivar error: what is wrong with it; C{None} unless it is invalid.
    """

    status: Literal["applied", "invalid", "gone"]
    at_s: float
    applied: tuple[str, ...] = ()
    error: str | None = None


class LiveConfig:
    """
    The configuration that applies now.

    Whoever needs a setting that can change reads it from C{current} when it is needed; only L{replace} changes that.

    @ivar current: the configuration that applies now.
    @ivar environ: the environment that applies now, C{<state>/.env} and the section C{env} included.
    @ivar pending: the keys whose value in the file is another one than C{current}'s and needs a restart.
    @ivar last_reload: what became of the last edit; C{None} if there was none.
    """

    def __init__(self, config: Config, environ: Mapping[str, str] | None = None) -> None:
        """@param environ: the C{environ} of the L{LoadedConfig} that C{config} comes from."""
        self.current = config
        self.environ = environ or {}
        self.pending: tuple[str, ...] = ()
        self.last_reload: LastReload | None = None
        self._listeners: list[Callable[[], object]] = []

    def replace(self, config: Config, environ: Mapping[str, str] | None = None) -> None:
        """
        Let another one apply from now on.

        @param environ: the environment that it was read with; C{None} to keep the one that applies.
        """
        self.current = config
        if environ is not None:
            self.environ = environ
        for listener in self._listeners[:]:
            try:
                listener()
            except Exception:  # noqa: BLE001 -- the others, and the reload, must not depend on it
                _log.failure("a part of the gateway did not follow a change of the configuration")

    def subscribe(self, listener: Callable[[], object]) -> Callable[[], None]:
        """
        Have a function called after another configuration has begun to apply; it must be quick.

        @return: ends that; harmless when called twice.
        """
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe


@attrs.frozen
class _Look:
    """
    What one look at the files found: nothing to judge, a configuration, or an error.

    @ivar digest: of the content at fault, so that it is not told twice.
    """

    fingerprint: Fingerprint
    loaded: LoadedConfig | None = None
    error: ConfigError | None = None
    digest: bytes | None = None


def _state(path: Path) -> FileState | None:
    """That of the file a link leads to; of the link, where it leads nowhere."""
    try:
        status = path.stat() if path.exists() else path.lstat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _digest(path: Path) -> bytes | None:
    """The digest of what is read of a regular file; C{None} if it cannot be told, and then nothing is like it."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return hashlib.sha256(file.read(MAX_CONFIG_BYTES + 1)).digest()
    except OSError:
        return None


def _listed(keys: Sequence[str]) -> str:
    """What the log says of some keys."""
    more = len(keys) - MAX_KEYS_TOLD
    names = ", ".join(keys[:MAX_KEYS_TOLD]) or "nothing"
    return f"{names} and {more} more" if more > 0 else names


class ConfigWatcher(Service):
    """
    Looks at the file, and at the C{.env} beside the state, three times a second and applies what can be applied.

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
        self._as_run = as_run
        self._path = path
        self._dotenv = (state_dir or Path(environ.get("OPENCLAW_STATE_DIR") or path.parent)) / ".env"
        self._environ = environ
        self._clock = clock
        self._read_in_thread = read_in_thread
        self._state_dir = state_dir
        self._local_runs = needs_local_model(live.current)
        self._judged: Fingerprint | None = None
        self._found: Fingerprint | None = None
        self._changing_since_s: float | None = None
        # Whether there ever was a file; C{None} before the first look.
        self._has_file: bool | None = None
        self._is_gone = False
        self._told_digest: bytes | None = None
        self._warnings: tuple[str, ...] = ()
        self._looping = looping(lambda: Deferred.fromCoroutine(self._look_and_apply()), clock)
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
        self._stop_looking()
        return self._ended

    def _stop_looking(self) -> None:
        if self._looping.running:
            self._looping.stop()

    async def _look_and_apply(self) -> None:
        try:
            since_s, now_s = self._changing_since_s, self._clock.seconds()
            is_late = since_s is not None and now_s - since_s >= MAX_WAIT_S
            look: _Look = await self._read_in_thread(self._look, self._judged, self._found, is_late)
            self._found = look.fingerprint
            is_judged = look.loaded is not None or look.error is not None
            if is_judged or look.fingerprint == self._judged:
                self._changing_since_s = None
            elif since_s is None:
                self._changing_since_s = now_s
            if self.running and is_judged:
                self._judged = look.fingerprint
                self._judge(look)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the watch must outlive whatever one look meets
            _log.failure("looking at the configuration failed; the running one stays")

    def _fingerprint(self) -> Fingerprint:
        return _state(self._path), _state(self._dotenv)

    def _look(self, judged: Fingerprint | None, found: Fingerprint | None, is_late: bool) -> _Look:
        """
        In the thread: read the files if they are others than those last judged, and have been so for two looks.

        A file that is being written changes between two looks, and while it is read.

        @param is_late: whether the configuration has not been at rest for so long that L{_look_in_passing} is due.
        """
        fingerprint = self._fingerprint()
        if fingerprint == judged:
            return _Look(fingerprint)
        if fingerprint != found:
            # Half a .env is a sound one of fewer or shorter values: it must be at rest.
            is_due = is_late and found is not None and fingerprint[1] == found[1]
            return self._look_in_passing(fingerprint) if is_due else _Look(fingerprint)
        try:
            look = _Look(fingerprint, load_config(self._path, self._environ, self._state_dir))
        except ConfigError as error:
            look = _Look(fingerprint, error=error, digest=_digest(self._path))
        now = self._fingerprint()
        return look if now == fingerprint else _Look(now)

    def _look_in_passing(self, fingerprint: Fingerprint) -> _Look:
        """
        In the thread: read a file that is written again and again.

        It is whole if it is valid, because half a file ends within its object, and if it holds the same before and
        after that was found.  Of any other nothing is said: it may be half of a sound one.
        """
        for _ in range(READS_IN_PASSING):
            digest = _digest(self._path)
            try:
                loaded = load_config(self._path, self._environ, self._state_dir)
            except ConfigError:
                continue
            is_same = digest is not None and digest == _digest(self._path) and _state(self._dotenv) == fingerprint[1]
            if loaded.exists and is_same:
                return _Look(fingerprint, loaded)
        return _Look(fingerprint)

    # ------------------------------------------------------------------------------------ judging

    def _judge(self, look: _Look) -> None:
        if look.error is not None:
            self._refuse(look.error, look.digest)
            return
        self._told_digest = None
        assert look.loaded is not None
        try:
            edited = self._as_run(look.loaded.config)
        except (ConfigError, StartError) as error:
            self._refuse(error, None)
            return
        if look.loaded.exists:
            self._has_file, self._is_gone = True, False
        elif self._has_file is None:
            # It may have been removed since it was loaded.
            self._has_file = edited != self._live.current
        if look.loaded.exists or not self._has_file:
            self._apply(edited, look.loaded)
        elif not self._is_gone:
            self._is_gone = True
            self._note("gone")
            _log.warn("the configuration file is gone; the running configuration stays")

    def _refuse(self, error: ConfigError | StartError, digest: bytes | None) -> None:
        """Keep the running configuration, and say why, once for each content."""
        self._has_file, self._is_gone = True, False
        problems = "; ".join(error.problems) if isinstance(error, ConfigError) else error.message
        self._note("invalid", error=problems)
        if digest is None or digest != self._told_digest:
            _log.error("config reload skipped (invalid config), the running one stays: {problems}", problems=problems)
        self._told_digest = digest

    def _note(
        self, status: Literal["applied", "invalid", "gone"], applied: tuple[str, ...] = (), error: str | None = None
    ) -> None:
        self._live.last_reload = LastReload(status, self._clock.seconds(), applied, error)

    def _apply(self, edited: Config, loaded: LoadedConfig) -> None:
        """Let all apply that can, and tell it, and what else differs from the running configuration."""
        running = self._live.current
        config, secret_key = self._with_credential(self._without_what_cannot_run(running, edited), edited, loaded)
        applied = [key for key in changed_keys(running, config) if effect_of(key) != "none"]
        is_other_environ = bool(self._live.environ) and dict(self._live.environ) != dict(loaded.environ)
        if is_other_environ and not any(key.startswith("env.") for key in applied):
            applied.append(DOTENV_KEY)
        pending = tuple(key for key in changed_keys(config, edited) if key != secret_key)
        self._live.replace(config, loaded.environ)
        was_pending, self._live.pending = self._live.pending, pending
        is_news = bool(applied) or pending != was_pending
        if is_news:
            _log.info(
                "config change: applied: {applied}; needs a restart: {pending}",
                applied=_listed(applied),
                pending=_listed(pending),
            )
            for text in loaded.warnings:
                if text not in self._warnings:
                    _log.warn("{text}", text=text)
        if is_news or self._live.last_reload is not None:
            self._note("applied", tuple(applied))
        self._warnings = loaded.warnings
        if config.gateway.reload.mode == "off":
            _log.info("gateway.reload.mode is off: further edits take a restart")
            self._stop_looking()

    def _without_what_cannot_run(self, running: Config, edited: Config) -> Config:
        """
        The edit without what takes a restart, and without agents that would have no model before it.

        The embedded model is the one of the start: while agents are to use another one, or it was not started,
        C{agents} and C{models} stay as they are, together, because one names what is in the other.
        """
        config: Config = with_hot_changes(running, edited)
        other = local_refs(config) - {config.models.local_ref}
        if not other <= local_refs(running) or (needs_local_model(config) and not self._local_runs):
            return attrs.evolve(config, agents=running.agents, models=running.models)
        return config

    def _with_credential(self, config: Config, edited: Config, loaded: LoadedConfig) -> tuple[Config, str | None]:
        """
        Give C{config} the credential that is to apply: that of the edit if it has the same mode, else the running one.

        @return: the configuration, and the key that is as the file wants it, if there is one.
        """
        running = self._live.current
        auth = running.gateway.auth
        changes: dict[str, Any] = {"mode": auth.mode, "token": auth.token, "password": auth.password}
        key: str | None = None
        try:
            old = effective_auth(running, self._live.environ or loaded.environ)
            new = effective_auth(edited, loaded.environ)
        except (ConfigError, StartError) as error:
            _log.error("config reload: the credential stays as it was: {reason}", reason=error.message)
        else:
            if new.mode == old.mode and new.secret is not None:
                key = f"gateway.auth.{new.mode}"
                if new.secret != old.secret:
                    # The secret itself, wherever it came from: who judges credentials may have another environment.
                    changes[new.mode] = new.secret
        kept = attrs.evolve(config.gateway.auth, **changes)
        return attrs.evolve(config, gateway=attrs.evolve(config.gateway, auth=kept)), key
