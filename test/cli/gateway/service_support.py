"""What the tests of the service of systemd share."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any
from unittest import mock

from openclaw.cli.gateway import systemd
from test.cli.support import CommandTestCase

DOCUMENT = {"gateway": {"auth": {"token": "a-good-token"}, "shutdownDrainMs": 5000}}


class ServiceTestCase(CommandTestCase):
    """
    A test with a systemctl that only notes what it is asked.

    @ivar calls: what it was asked.
    @ivar answers: what it answers to a verb: status and text on standard error.
    """

    def setUp(self) -> None:
        super().setUp()
        os.environ.pop("XDG_CONFIG_HOME", None)
        os.environ.pop("PYTHONPATH", None)
        os.environ.pop("SUDO_USER", None)
        self.calls: list[list[str]] = []
        self.answers: dict[str, tuple[int, str]] = {}
        self.program: str | None = "/bin/systemctl"
        self.patch(shutil, "which", lambda _: self.program)
        self.patch(subprocess, "run", self.systemctl)
        self.system_folder = self.home / "system"
        self.patch(systemd, "SYSTEM_FOLDER", self.system_folder)
        self.folder = self.home / ".config" / "systemd" / "user"
        self.unit = self.folder / "openclaw-gateway.service"
        self.socket = self.folder / "openclaw-gateway.socket"

    def systemctl(self, command: list[str], **_: Any) -> Any:
        self.calls.append(command[1:])
        verb = next(word for word in command[1:] if not word.startswith("--"))
        status, text = self.answers.get(verb, (0, ""))
        return mock.Mock(returncode=status, stderr=text, stdout="")

    def gateway(self, *arguments: str) -> int:
        return self.run_command("gateway", *arguments)

    def verbs(self) -> list[str]:
        return [" ".join(word for word in call if word != "--no-ask-password") for call in self.calls]
