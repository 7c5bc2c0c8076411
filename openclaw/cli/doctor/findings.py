"""What C{openclaw doctor} finds, and what a check is given and is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from openclaw.errors import ConfigError

if TYPE_CHECKING:
    from openclaw.config.load import LoadedConfig
    from openclaw.config.paths import Paths
    from openclaw.config.schema import Config

Severity = Literal["info", "warning", "error"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From the least to the most."""


@attrs.frozen
class Finding:
    """
    One thing that is not as it should be.

    @ivar path: the key or file, if there is one.
    @ivar fix_hint: what to do, with the exact command.
    """

    severity: Severity
    message: str
    fix_hint: str
    path: str | None = None


@attrs.frozen
class Surroundings:
    """
    What the checks look at.

    @ivar document: the configuration file as it stands; C{None} if there is none that can be read.
    @ivar loaded: the configuration; C{None} if it cannot be used.
    @ivar problem: why it cannot be used.
    @ivar environ: the process's environment.
    @ivar profile: C{--profile}.
    """

    paths: Paths
    environ: Mapping[str, str] = attrs.field(repr=False)
    document: Any = None
    loaded: LoadedConfig | None = None
    problem: ConfigError | None = None
    profile: str | None = None

    @property
    def config(self) -> Config:
        """The configuration, for checks that run only where there is one."""
        assert self.loaded is not None
        return self.loaded.config


@attrs.frozen
class DoctorCheck:
    """
    One check.

    @ivar look: gives what it finds.
    @ivar needs_config: it is skipped where the configuration cannot be used.
    @ivar is_local: it is about the gateway of this machine, and skipped where C{gateway.mode} is C{remote}.
    @ivar repair: with C{--fix}: does what it can and tells it, a sentence for each thing.
    """

    check_id: str
    look: Callable[[Surroundings], Iterator[Finding]]
    needs_config: bool = True
    is_local: bool = False
    repair: Callable[[Surroundings], Iterator[str]] | None = None

    def applies(self, at: Surroundings) -> bool:
        """Whether it can run, and is about something that there is."""
        if at.loaded is None:
            return not self.needs_config
        return not (self.is_local and at.config.gateway.mode == "remote")


def real(path: Path) -> Path:
    """The file that a symbolic link leads to; any other path as it is."""
    # unlike Path.is_symlink this is false, and no error, where the folder is closed to us
    return Path(os.path.realpath(path)) if os.path.islink(path) else path  # noqa: PTH114
