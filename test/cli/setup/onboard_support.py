"""What the tests of C{openclaw onboard} share."""

from typing import Any
from unittest import mock

from test.cli.support import CommandTestCase

CUSTOM = (
    "--auth-choice", "custom-api-key", "--custom-base-url", "http://127.0.0.1:8080/v1", "--custom-model-id", "m1",
)  # fmt: skip


class OnboardTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.state_dir / "openclaw.json"
        self.trouble: str | None = None
        self.probed: list[tuple[str, str | None]] = []
        patch = mock.patch("openclaw.cli.setup.provider_probe.probe", self.probe)
        patch.start()
        self.addCleanup(patch.stop)

    def probe(self, base_url: str, api_key: str | None) -> str | None:
        self.probed.append((base_url, api_key))
        return self.trouble

    def onboard(self, *arguments: str) -> int:
        return self.run_command("onboard", "--non-interactive", "--accept-risk", *arguments)

    def document(self) -> Any:
        from openclaw.config.load import read_document

        return read_document(self.path)
