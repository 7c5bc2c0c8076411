"""
The embedded model's child process as a supervised state machine.

The states and what moves between them::

    stopped ─start─> checking ─found─> starting ─announced─> ready
    checking ─missing─> failed ─retry─> checking
    starting, ready ─condemn─> dying
    starting, ready, dying ─ended─> backing off ─retry─> checking
                                    backing off ─gave_up─> failed
    starting, ready, dying ─stop─> stopping ─ended─> stopped
    stopping ─gave_up─> abandoned ─ended─> stopped
    checking, backing off, failed ─stop─> stopped

A child that does not load in time or outgrows its memory is condemned.  Attempts go on for ever; after
L{MAX_FAILURES} in a row, or when the weights or the library are missing, the state is C{failed} and callers are told
so at once, until the model serves.

Facts about the server in the child are in L{openclaw.providers.local_child}.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import attrs
from automat import TypeMachine, TypeMachineBuilder, pep614
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from openclaw.config.models import LOCAL_PROVIDER
from openclaw.errors import LastingProviderFailure, StartError
from openclaw.providers.local_spawn import (
    BASE_RSS_BYTES,
    ChildMeans,
    ChildOwner,
    ChildProcess,
    LocalSettings,
    Reactor,
    library_installed,
    resident_bytes,
)
from openclaw.providers.openai_request import Endpoint
from openclaw.waits import Promise

START_DEADLINE_S = 120.0
"""A child that has not announced itself after so long is killed."""

FIRST_DELAY_S = 1.0
"""Pause before the first new attempt; doubled for each failure in a row."""

MAX_DELAY_S = 60.0
"""Longest pause between two attempts."""

MISSING_DELAY_S = 5.0
"""How often it is looked whether missing weights or the missing library have appeared; costs no process."""

HEALTHY_AFTER_S = 60.0
"""A child that served for so long clears the count of failures."""

CANNOT_LOAD = "the model cannot be loaded"
"""How the child's word begins when the library does not take the weights; see L{openclaw.providers.local_child}."""

MAX_FAILURES = 5
"""Failures in a row after which the state is C{failed}."""

TERM_AFTER_S = 2.5
"""At stop, seconds from the end of its standard input until the child gets SIGTERM."""

KILL_AFTER_S = 5.0
"""At stop, seconds until it gets SIGKILL."""

ABANDON_AFTER_S = 10.0
"""At stop, seconds until a child that does not end is left behind."""

MEMORY_CHECK_S = 10.0
"""How often the child's memory is looked at."""

REQUEST_TIMEOUT_S = 300.0
"""First-byte and idle deadline of a request to the child, as for every self-hosted server."""

log = Logger(namespace="openclaw.local")

STOPPED = "the local model is stopped"
"""What is said to callers before the start and after the stop."""


class _Inputs(ChildOwner, Protocol):
    """What happens to the machine, beside what the child does."""

    def start(self) -> None:
        """The service starts."""

    def found(self, path: Path) -> None:
        """The weights are there and right, and so is the library."""

    def missing(self) -> None:
        """They are not."""

    def gave_up(self) -> None:
        """That was once too often, or took too long."""

    def retry(self) -> None:
        """The pause is over."""

    def stop(self) -> None:
        """The service stops."""


@attrs.define(eq=False)
class _Child:
    """
    The machine's memory and its deeds.

    @ivar failures: failures in a row.
    @ivar failure: why callers need not wait, in one clear sentence; C{None} while there is hope.
    @ivar killed_for: why we killed the child ourselves.
    @ivar url: where the child serves; C{None} while it does not.
    @ivar served: what callers wait for, until the child serves or there is no hope; then another one for the next.
    @ivar stopped: the same for those who stop it.
    @ivar timers: the timers of the present state, cancelled when it is left.
    """

    means: ChildMeans
    inputs: _Inputs = attrs.field(init=False)
    failures: int = attrs.field(default=0, init=False)
    failure: str | None = attrs.field(default=STOPPED, init=False)
    killed_for: str | None = attrs.field(default=None, init=False)
    api_key: str = attrs.field(default="", init=False)
    url: str | None = attrs.field(default=None, init=False)
    max_rss_bytes: int = attrs.field(default=BASE_RSS_BYTES, init=False)
    process: ChildProcess | None = attrs.field(default=None, init=False)
    checking: Deferred[None] | None = attrs.field(default=None, init=False)
    timers: list[IDelayedCall] = attrs.field(factory=list, init=False)
    served: Promise[Endpoint] = attrs.field(factory=Promise, init=False)
    stopped: Promise[None] = attrs.field(factory=Promise, init=False)

    def after(self, delay_s: float, call: Callable[..., None], *args: object) -> None:
        """Call something later, unless the state is left before."""
        self.timers = [timer for timer in self.timers if timer.active()]
        self.timers.append(self.means.reactor.callLater(delay_s, call, *args))

    def leave_state(self) -> None:
        """Cancel what the state that is left was waiting for."""
        timers, self.timers = self.timers, []
        for timer in timers:
            if timer.active():
                timer.cancel()
        checking, self.checking = self.checking, None
        if checking is not None:
            checking.cancel()

    def check(self) -> None:
        """Look for the library and the weights; C{found} or C{missing} follows."""
        self.leave_state()
        self.checking = Deferred.fromCoroutine(self._look())

    async def _look(self) -> None:
        try:
            path = await self._find()
        except CancelledError:
            return  # the state was left
        # Done: entering the next state must not cancel what is running now.
        self.checking = None
        if path is None:
            self.inputs.missing()
        else:
            self.inputs.found(path)

    async def _find(self) -> Path | None:
        try:
            path, self.max_rss_bytes = await self.means.find()
        except CancelledError:
            raise
        except StartError as error:
            self.report_failed(error.message)
            return None
        except Exception:  # noqa: BLE001 - a check that broke must not end all further attempts
            log.failure("looking for the local model failed")
            self.report_failed("the local model cannot be looked for; the gateway's log says why")
            return None
        return path

    def spawn(self, path: Path) -> None:
        """Start a child; C{announced} or C{ended} follows."""
        self.leave_state()
        self.api_key = secrets.token_urlsafe(32)
        self.killed_for = None
        if self.failures < MAX_FAILURES:
            self.failure = None  # what was missing is there now
        self.after(START_DEADLINE_S, self.inputs.condemn, f"it did not load within {START_DEADLINE_S:g} s")
        self.process = ChildProcess(self.inputs, self.means.settings.child_line(path, self.api_key))
        self.process.spawn(self.means.reactor, self.means.environ)

    def serve(self, url: str) -> None:
        """The child serves: let the callers go on."""
        self.leave_state()
        self.url = url
        self.failure = None
        self.after(HEALTHY_AFTER_S, self.forgive)
        self.after(MEMORY_CHECK_S, self.check_memory)
        log.info("the local model is ready")
        served, self.served = self.served, Promise()
        served.fire(self.endpoint(url))

    def endpoint(self, url: str) -> Endpoint:
        """The child as a model server."""
        return Endpoint(
            base_url=f"{url}/v1",
            api_key=self.api_key,
            headers={},
            first_byte_timeout_s=REQUEST_TIMEOUT_S,
            idle_timeout_s=REQUEST_TIMEOUT_S,
            name=LOCAL_PROVIDER,
        )

    def forgive(self) -> None:
        """Forget earlier failures."""
        self.failures = 0

    def check_memory(self) -> None:
        """Condemn a child that outgrew its memory, else look again later."""
        pid = self.process.pid if self.process else None
        used_bytes = self.means.resident(pid) if pid else None
        if used_bytes is not None and used_bytes > self.max_rss_bytes:
            used_mib, max_mib = used_bytes >> 20, self.max_rss_bytes >> 20
            self.inputs.condemn(f"it held {used_mib} MiB of memory, more than its {max_mib} MiB")
        else:
            self.after(MEMORY_CHECK_S, self.check_memory)

    def kill(self, reason: str) -> None:
        """Kill the child; C{ended} follows."""
        self.leave_state()
        self.url = None
        self.killed_for = reason
        assert self.process is not None  # one that is condemned has been started and has not ended
        self.process.signal("KILL")

    def fail_attempt(self, reason: str) -> None:
        """Count a failure and wait, or give up for a long while."""
        self.leave_state()
        last_lines = list(self.process.last_lines) if self.process is not None else []
        self.process = self.url = None
        reason = self.killed_for or reason
        self.failures += 1
        trouble = "keeps failing"
        if reason.startswith(CANNOT_LOAD):
            # The same file will not load the next time either: say so at once, and look again seldom.
            self.failures = max(self.failures, MAX_FAILURES)
            trouble = "cannot be loaded"
            reason = (
                "its file is damaged or of a kind that is not supported; "
                "name another GGUF file with models.local.path, or run openclaw models pull "
                f"{self.means.settings.alias}"
            )
        log.warn("the local model failed: {reason}; {failures} in a row", reason=reason, failures=self.failures)
        log.debug("its last words: {last_lines}", last_lines=last_lines)
        if self.failures < MAX_FAILURES:
            self.after(FIRST_DELAY_S * 2 ** (self.failures - 1), self.inputs.retry)
        else:
            # First: whoever is told may stop the model at once, and inputs are taken in their order.
            self.inputs.gave_up()
            self.report_failed(f"the local model {trouble}: {reason}")

    def report_failed(self, message: str) -> None:
        """Tell the callers that wait, and all who come, that there is no use in waiting."""
        if message != self.failure:
            self.failure = message
            log.warn("{message}", message=message)
        served, self.served = self.served, Promise()
        served.fail(LastingProviderFailure(message))

    def begin_stop(self) -> None:
        """Ask the child to leave, then make it."""
        self.leave_state()
        self.url = None
        self.report_stopped()
        self.after(ABANDON_AFTER_S, self.inputs.gave_up)
        assert self.process is not None  # without one there is nothing to wait for, and this state is not entered
        self.after(TERM_AFTER_S, self.process.signal, "TERM")
        self.after(KILL_AFTER_S, self.process.signal, "KILL")
        self.process.close_stdin()

    def report_stopped(self) -> None:
        """Fail who waits."""
        self.failure = STOPPED
        self.report_failed(STOPPED)

    def abandon(self) -> None:
        """Stop waiting for a child that even SIGKILL did not end."""
        self.leave_state()
        log.error("the local model's process did not end {seconds} s after it should", seconds=ABANDON_AFTER_S)
        self.tell_stopped()

    def end_stop(self) -> None:
        """All is over."""
        self.leave_state()
        self.process = self.url = None
        self.failures = 0
        self.report_stopped()
        self.tell_stopped()

    def tell_stopped(self) -> None:
        """Fire what L{LocalModel.stop} returned."""
        stopped, self.stopped = self.stopped, Promise()
        stopped.fire(None)


def _build() -> TypeMachine[_Inputs, _Child]:
    """The machine; the docstring of this module draws it."""
    builder = TypeMachineBuilder(_Inputs, _Child)
    stopped = builder.state("stopped")
    checking = builder.state("checking")
    starting = builder.state("starting")
    ready = builder.state("ready")
    dying = builder.state("dying")
    backing_off = builder.state("backing off")
    failed = builder.state("failed")
    stopping = builder.state("stopping")
    abandoned = builder.state("abandoned")

    @pep614(stopped.upon(_Inputs.start).to(checking))
    def begin(inputs: _Inputs, child: _Child) -> None:
        child.failure = None
        child.check()

    @pep614(backing_off.upon(_Inputs.retry).to(checking))
    @pep614(failed.upon(_Inputs.retry).to(checking))
    def check(inputs: _Inputs, child: _Child) -> None:
        child.check()

    @pep614(checking.upon(_Inputs.found).to(starting))
    def spawn(inputs: _Inputs, child: _Child, path: Path) -> None:
        child.spawn(path)

    @pep614(checking.upon(_Inputs.missing).to(failed))
    def look_again(inputs: _Inputs, child: _Child) -> None:
        child.after(MISSING_DELAY_S, inputs.retry)

    @pep614(starting.upon(_Inputs.announced).to(ready))
    def serve(inputs: _Inputs, child: _Child, url: str) -> None:
        child.serve(url)

    ready.upon(_Inputs.announced).loop().returns(None)
    stopping.upon(_Inputs.stop).loop().returns(None)
    for state in (dying, stopping, abandoned):
        state.upon(_Inputs.announced).loop().returns(None)
        state.upon(_Inputs.condemn).loop().returns(None)

    @pep614(starting.upon(_Inputs.condemn).to(dying))
    @pep614(ready.upon(_Inputs.condemn).to(dying))
    def kill(inputs: _Inputs, child: _Child, reason: str) -> None:
        child.kill(reason)

    @pep614(starting.upon(_Inputs.ended).to(backing_off))
    @pep614(ready.upon(_Inputs.ended).to(backing_off))
    @pep614(dying.upon(_Inputs.ended).to(backing_off))
    def fail_attempt(inputs: _Inputs, child: _Child, reason: str) -> None:
        child.fail_attempt(reason)

    @pep614(backing_off.upon(_Inputs.gave_up).to(failed))
    def try_seldom(inputs: _Inputs, child: _Child) -> None:
        child.after(MAX_DELAY_S, inputs.retry)

    @pep614(starting.upon(_Inputs.stop).to(stopping))
    @pep614(ready.upon(_Inputs.stop).to(stopping))
    @pep614(dying.upon(_Inputs.stop).to(stopping))
    def begin_stop(inputs: _Inputs, child: _Child) -> None:
        child.begin_stop()

    @pep614(stopping.upon(_Inputs.gave_up).to(abandoned))
    @pep614(abandoned.upon(_Inputs.stop).loop())
    def abandon(inputs: _Inputs, child: _Child) -> None:
        child.abandon()

    @pep614(stopping.upon(_Inputs.ended).to(stopped))
    @pep614(abandoned.upon(_Inputs.ended).to(stopped))
    def ended(inputs: _Inputs, child: _Child, reason: str) -> None:
        child.end_stop()

    @pep614(stopped.upon(_Inputs.stop).loop())
    @pep614(checking.upon(_Inputs.stop).to(stopped))
    @pep614(backing_off.upon(_Inputs.stop).to(stopped))
    @pep614(failed.upon(_Inputs.stop).to(stopped))
    def end_stop(inputs: _Inputs, child: _Child) -> None:
        child.end_stop()

    return builder.build()


_machine = _build()


class LocalModel:
    """
    The embedded model as a service: a child process that is started, watched, and started again.

    @param reactor: runs timers and processes.
    @param settings: how the model is served.
    @param locate: finds the weights, off the reactor's thread; fails with L{StartError} when they are missing or
        damaged, its message saying what to do.
    @param environ: our environment, of which the child gets L{openclaw.providers.local_spawn.PASSED_ENVIRONMENT}.
    @param installed: whether xllamacpp is there.
    @param resident: a process's resident memory in bytes.
    """

    def __init__(
        self,
        reactor: Reactor,
        settings: LocalSettings,
        locate: Callable[[], Deferred[Path]],
        *,
        environ: Mapping[str, str] = os.environ,
        installed: Callable[[], bool] = library_installed,
        resident: Callable[[int], int | None] = resident_bytes,
    ) -> None:
        self._child = _Child(ChildMeans(reactor, settings, locate, environ, installed, resident))
        self._inputs = self._child.inputs = _machine(self._child)

    def start(self) -> None:
        """
        Begin to load the model; returns at once.

        @raise automat.NoTransition: if it is not stopped.
        """
        self._inputs.start()

    def stop(self) -> Deferred[None]:
        """
        End the child.

        @return: fires when its process is gone, L{ABANDON_AFTER_S} later at the latest.  Cancelling it has no
            effect on the stop.
        """
        stopped = self._child.stopped
        self._inputs.stop()
        return stopped.wait()

    def ready(self) -> Deferred[Endpoint]:
        """
        Wait until the model serves.

        @return: fires with its address and key, at once if it serves now; fails with L{LastingProviderFailure}, a
            L{openclaw.errors.ProviderFailed}, if it is known not to.  The caller sets the deadline; cancelling
            stops the wait and nothing else.
        """
        child = self._child
        if child.url is not None:
            return succeed(child.endpoint(child.url))
        if child.failure is not None:
            return fail(LastingProviderFailure(child.failure))
        return child.served.wait()

    @property
    def pid(self) -> int | None:
        """Process id of the child; C{None} while there is none."""
        process = self._child.process
        return process.pid if process is not None else None

    @property
    def state(self) -> str:
        """For people: C{stopped}, C{loading}, C{restarting}, C{ready} or C{failed: <why>}."""
        child = self._child
        if child.url is not None:
            return "ready"
        if child.failure is not None:
            return "stopped" if child.failure == STOPPED else f"failed: {child.failure}"
        return "restarting" if child.failures else "loading"
