"""Where things lie."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.paths import ensure_state_dir, resolve_paths
from openclaw.errors import StartError


class ResolveTests(SynchronousTestCase):
    """L{resolve_paths}."""

    def test_default(self) -> None:
        """Everything is in the state folder of the home."""
        paths = resolve_paths({"HOME": "/h"})
        state = Path("/h/.openclaw")
        self.assertEqual(
            (
                Path("/h"),
                state,
                state / "openclaw.json",
                state / "gateway.sqlite",
                state / "models",
                state / "gateway.lock",
                state / "logs",
            ),
            (
                paths.home,
                paths.state_dir,
                paths.config_path,
                paths.store_path,
                paths.models_dir,
                paths.lock_path,
                paths.log_dir,
            ),
        )

    def test_variables(self) -> None:
        """Each variable moves its part."""
        for environ, state, config in [
            ({"OPENCLAW_HOME": "/o"}, "/o/.openclaw", "/o/.openclaw/openclaw.json"),
            ({"OPENCLAW_STATE_DIR": "/s"}, "/s", "/s/openclaw.json"),
            ({"OPENCLAW_STATE_DIR": "~/s"}, "/h/s", "/h/s/openclaw.json"),
            ({"OPENCLAW_STATE_DIR": "~"}, "/h", "/h/openclaw.json"),
            ({"OPENCLAW_STATE_DIR": " "}, "/h/.openclaw", "/h/.openclaw/openclaw.json"),
            ({"OPENCLAW_CONFIG_PATH": "/c/x.json"}, "/h/.openclaw", "/c/x.json"),
            ({"OPENCLAW_PROFILE": "dev"}, "/h/.openclaw-dev", "/h/.openclaw-dev/openclaw.json"),
            ({"OPENCLAW_PROFILE": "default"}, "/h/.openclaw", "/h/.openclaw/openclaw.json"),
            ({"OPENCLAW_PROFILE": "dev", "OPENCLAW_STATE_DIR": "/s"}, "/s", "/s/openclaw.json"),
        ]:
            paths = resolve_paths({"HOME": "/h", **environ})
            self.assertEqual((Path(state), Path(config)), (paths.state_dir, paths.config_path), environ)

    def test_relative(self) -> None:
        """A relative place is one of the working folder, and stays it."""
        self.assertEqual(Path("s").absolute(), resolve_paths({"HOME": "/h", "OPENCLAW_STATE_DIR": "s"}).state_dir)

    def test_profile(self) -> None:
        """The command line's profile beats the environment's; a name that is none is refused."""
        environ = {"HOME": "/h", "OPENCLAW_PROFILE": "b/../x"}
        self.assertEqual(Path("/h/.openclaw-a"), resolve_paths(environ, "a").state_dir)
        error = self.assertRaises(StartError, resolve_paths, environ)
        self.assertEqual("OPENCLAW_PROFILE: expected 1 to 64 letters, digits, _ and -, got 'b/../x'", error.message)
        error = self.assertRaises(StartError, resolve_paths, environ, "..")
        self.assertEqual("--profile: expected 1 to 64 letters, digits, _ and -, got '..'", error.message)

    def test_no_home(self) -> None:
        """Without HOME the user database is asked; where that knows nothing, it is said."""
        self.assertTrue(resolve_paths({}).home.is_absolute())

        def unknown(_: Path) -> Path:
            raise RuntimeError("Could not determine home directory.")

        self.patch(Path, "expanduser", unknown)
        error = self.assertRaises(StartError, resolve_paths, {})
        self.assertEqual("no home folder: set HOME or OPENCLAW_STATE_DIR", error.message)


class EnsureTests(SynchronousTestCase):
    """L{ensure_state_dir}."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.paths = resolve_paths({"HOME": str(self.folder)})

    def test_made(self) -> None:
        """It is made with its parents, for its owner only, and nothing is left in it."""
        ensure_state_dir(self.paths)
        self.assertEqual(0o700, self.paths.state_dir.stat().st_mode & 0o777)
        self.assertEqual([], list(self.paths.state_dir.iterdir()))

    def test_existing(self) -> None:
        """An existing one keeps its mode."""
        self.paths.state_dir.mkdir(parents=True)
        self.paths.state_dir.chmod(0o755)
        ensure_state_dir(self.paths)
        self.assertEqual(0o755, self.paths.state_dir.stat().st_mode & 0o777)

    def test_file_in_its_place(self) -> None:
        """A file where the folder or its parent should be."""
        self.folder.mkdir()
        self.paths.state_dir.write_text("")
        error = self.assertRaises(StartError, ensure_state_dir, self.paths)
        self.assertEqual(
            f"the state folder {self.paths.state_dir} is not a folder; set OPENCLAW_STATE_DIR", error.message
        )
        below = resolve_paths({"HOME": str(self.paths.state_dir)})
        error = self.assertRaises(StartError, ensure_state_dir, below)
        self.assertIn("cannot be written: Not a directory", error.message)

    def test_read_only(self) -> None:
        """A folder that exists and cannot be written to."""

        def refuse(**_: object) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(tempfile, "TemporaryFile", refuse)
        error = self.assertRaises(StartError, ensure_state_dir, self.paths)
        self.assertEqual(
            f"the state folder {self.paths.state_dir} cannot be written: Permission denied; set OPENCLAW_STATE_DIR",
            error.message,
        )
