"""The gateway's own log files and what may not stand in any log: begun with the gateway, kept up with its settings."""

from __future__ import annotations

from collections.abc import Callable

from openclaw.config.plan import Plan
from openclaw.config.redaction import secret_values
from openclaw.config.reload import LiveConfig
from openclaw.log import FileLog
from openclaw.redact import process_redactor


class GatewayLog:
    """
    The log files of one gateway.

    @param planned: says where they are, and their level unless the environment does.
    @param live: the settings that apply; an edit of them is followed at once.
    """

    def __init__(self, planned: Plan, live: LiveConfig) -> None:
        self._live = live
        self._unsubscribe: Callable[[], None] = lambda: None
        self._level = planned.options.log_level or planned.environ.get("OPENCLAW_LOG_LEVEL", "").strip()
        logging = live.current.logging
        self._files = FileLog(
            planned.paths.log_dir, self._level or logging.level, max_file_bytes=logging.max_file_bytes
        )

    def start(self) -> None:
        """Begin to write; secrets are masked from the first line on."""
        self._follow()
        self._unsubscribe = self._live.subscribe(self._follow)
        self._files.start()

    def stop(self) -> None:
        """Write what is left; blocks for 2 s at most."""
        self._unsubscribe()
        self._files.stop()

    def reopen(self) -> None:
        """Open the file anew; returns at once."""
        self._files.reopen()

    def _follow(self) -> None:
        logging = self._live.current.logging
        process_redactor.learn(secret_values(self._live.current, self._live.environ))
        process_redactor.use_patterns(logging.patterns)
        self._files.set_level(self._level or logging.level)
