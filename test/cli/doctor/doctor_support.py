"""What the tests of C{openclaw doctor} share."""

import os
import socket
from typing import Any
from unittest import mock

from test.cli.support import CommandTestCase

TOKEN = "f8aXk29dKq0zLw71"

GOOD: dict[str, Any] = {
    "gateway": {
        "mode": "local",
        "auth": {"token": "${TOK}"},
        "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
    },
    "models": {"providers": {"p": {"baseUrl": "http://127.0.0.1:1/v1"}}},
    "agents": {"defaults": {"model": "p/m"}},
}


class DoctorTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.write(GOOD)
        self.state_dir.chmod(0o700)
        os.environ["TOK"] = TOKEN
        self.bound: list[Any] = []
        self.bind_error: OSError | None = None
        patch = mock.patch.object(socket, "socket", self.socket)
        patch.start()
        self.addCleanup(patch.stop)

    def socket(self, family: int, _kind: int) -> Any:
        made = mock.MagicMock()
        made.__enter__.return_value = made
        made.bind.side_effect = lambda address: self.bind(family, address)
        return made

    def bind(self, family: int, address: Any) -> None:
        self.bound.append((family, address))
        if self.bind_error is not None:
            raise self.bind_error

    def with_settings(self, **paths: Any) -> None:
        """Write the good configuration with some settings; C{__} stands for a dot."""
        from openclaw.config.edit_document import with_value

        document: Any = GOOD
        for path, value in paths.items():
            document = with_value(document, tuple(path.split("__")), value)
        self.write(document)

    def findings(self, *arguments: str) -> list[tuple[str, str, str]]:
        """Check, severity and text of all that is found."""
        self.assertEqual(self.run_command("doctor", "--json", *arguments), 0, self.err)
        told = self.json_out()
        for one in told["findings"]:
            self.assertTrue(one["fixHint"])
        self.assertNotIn(TOKEN, self.out)
        return [
            (one["checkId"].removeprefix("core/doctor/"), one["severity"], one["message"]) for one in told["findings"]
        ]

    def assert_found(self, check: str, severity: str, text: str, *arguments: str) -> dict[str, Any]:
        found = self.findings(*arguments)
        self.assertEqual([(one, level) for one, level, _ in found], [(check, severity)])
        self.assertIn(text, found[0][2])
        row = self.json_out()["findings"][0]
        assert isinstance(row, dict)
        return row
