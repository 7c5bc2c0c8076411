"""Writing the configuration file: what is checked, what is kept, and that nothing is ever lost."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config import edit as module
from openclaw.config.edit import Edit, InvalidResult, edit_config, read_config_file
from openclaw.config.edit_document import with_value, without_value
from openclaw.errors import ConfigError, OpenClawError

TEXT = """\
{
  // which port
  gateway: { mode: "local", port: 18789, auth: { token: "0123456789abcdef" } },
}
"""


def port(number: int) -> Callable[[Any], Any]:
    return lambda document: with_value(document, ("gateway", "port"), number)


class EditTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "openclaw.json"
        self.path.write_text(TEXT)
        self.path.chmod(0o600)
        self.environ: dict[str, str] = {}
        self.slept: list[float] = []

    def edit(self, change: Callable[[Any], Any], **options: Any) -> Edit:
        return edit_config(self.path, change, self.environ, self.folder, sleep=self.slept.append, **options)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if not path.name.endswith(".lock"))

    def assert_untouched(self) -> None:
        self.assertEqual(self.path.read_text(), TEXT)
        self.assertEqual(self.names(), ["openclaw.json"])


class WriteTests(EditTestCase):
    def test_written(self) -> None:
        edit = self.edit(port(18790))
        self.assertEqual(self.path.read_text(), TEXT.replace("18789", "18790"))
        self.assertEqual((edit.written, edit.changed, edit.effect), (True, ("gateway.port",), "restart"))
        self.assertEqual(edit.config.gateway.port, 18790)
        self.assertEqual(self.names(), ["openclaw.json", "openclaw.json.bak"])
        self.assertEqual((self.folder / "openclaw.json.bak").read_text(), TEXT)
        for name in self.names():
            self.assertEqual(stat.S_IMODE((self.folder / name).stat().st_mode), 0o600)

    def test_dry_run(self) -> None:
        edit = self.edit(port(18790), dry_run=True)
        self.assertFalse(edit.written)
        self.assertIn("18790", edit.text)
        self.assert_untouched()

    def test_no_change(self) -> None:
        edit = self.edit(port(18789))
        self.assertEqual((edit.effect, edit.written), ("unchanged", False))
        self.assert_untouched()

    def test_effects(self) -> None:
        def effect(path: str, value: Any) -> str:
            return self.edit(lambda document: with_value(document, tuple(path.split(".")), value)).effect

        self.assertEqual(effect("gateway.auth.token", "fedcba9876543210"), "hot")
        self.assertEqual(effect("skills.x", 1), "none")
        self.assertEqual(effect("gateway.bind", "auto"), "restart")
        self.assertEqual(effect("gateway.reload.mode", "off"), "restart")
        self.assertEqual(effect("gateway.auth.token", "0123456789abcdef"), "restart")

    def test_ring(self) -> None:
        for number in range(7):
            self.edit(port(1000 + number))
        ring = ["openclaw.json.bak", *(f"openclaw.json.bak.{number}" for number in range(1, 5))]
        self.assertEqual(self.names(), ["openclaw.json", *ring])
        ports = [read_config_file(self.folder / name).document["gateway"]["port"] for name in ring]
        self.assertEqual(ports, [1005, 1004, 1003, 1002, 1001])

    def test_modes(self) -> None:
        for before, after in ((0o644, 0o600), (0o400, 0o400), (0o040, 0o600)):
            self.path.chmod(before)
            if not os.access(self.path, os.R_OK):
                continue  # such a file is for root alone to read
            self.edit(port(self.edit(port(1), dry_run=True).config.gateway.port + before))
            self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), after)

    def test_owner(self) -> None:
        """Root edits a user's file for that user."""
        with mock.patch.object(os, "geteuid", return_value=os.geteuid() + 1), mock.patch.object(os, "fchown") as chown:
            self.edit(port(2))
        status = self.path.stat()
        self.assertEqual({call.args[1:] for call in chown.call_args_list}, {(status.st_uid, status.st_gid)})

    def test_root_leaves_nothing_that_is_closed_to_the_owner(self) -> None:
        """The lock and a new file in a user's folder are that user's: the next edit is theirs."""
        real = Path.stat

        def status(path: Path, **options: Any) -> os.stat_result:
            found = list(real(path, **options))
            if path == self.folder:
                found[stat.ST_UID], found[stat.ST_GID] = 4711, 4712
            return os.stat_result(found)

        self.path.unlink()
        root = mock.patch.object(os, "geteuid", return_value=0)
        with root, mock.patch.object(Path, "stat", status), mock.patch.object(os, "fchown") as chown:
            self.edit(port(2))
            self.assertEqual([call.args[1:] for call in chown.call_args_list], [(4711, 4712)] * 2)
            self.edit(lambda document: with_value(document, ("gateway", "port"), 3))
        self.assertTrue((self.folder / ".openclaw.json.lock").exists())

    def test_new_file(self) -> None:
        path = self.folder / "new" / "x.json"
        edit = edit_config(path, port(5), {}, self.folder)
        self.assertEqual(path.read_text(), '{\n  "gateway": {\n    "port": 5\n  }\n}\n')
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)
        self.assertEqual(edit.before.content, None)
        self.assertIn("does not start like this: no credential", "".join(edit.warnings))
        self.assertEqual(sorted(one.name for one in path.parent.iterdir()), [".x.json.lock", "x.json"])

    def test_new_and_empty(self) -> None:
        path = self.folder / "y.json"
        self.assertTrue(edit_config(path, lambda document: document, {}, self.folder).written)
        self.assertEqual(path.read_text(), "{}\n")

    def test_variables(self) -> None:
        """What the check fills in comes from the environment and the .env beside the state."""
        (self.folder / ".env").write_text("URL=http://127.0.0.1:1/v1\nwrong line\n")
        edit = self.edit(
            lambda document: with_value(
                document, ("models", "providers", "x"), {"baseUrl": "${URL}", "apiKey": "${NO}"}
            )
        )
        self.assertIn('"${URL}"', self.path.read_text())
        self.assertEqual(edit.config.models.providers["x"].base_url, "http://127.0.0.1:1/v1")
        self.assertIn("line 2", edit.warnings[0])
        self.assertIn("environment variable not set: NO", " ".join(edit.warnings))


class RefusedTests(EditTestCase):
    def test_invalid_result(self) -> None:
        def change(document: Any) -> Any:
            return with_value(with_value(document, ("gateway", "port"), 0), ("nope",), 1)

        for dry_run in (False, True):
            with self.assertRaises(InvalidResult) as told:
                self.edit(change, dry_run=dry_run)
            self.assertEqual(len(told.exception.problems), 2)
            self.assert_untouched()

    def test_from_invalid_to_valid(self) -> None:
        self.path.write_text('{gateway: {port: "x", /* kept */ bind: "auto"}}')
        edit = self.edit(port(5))
        self.assertEqual(self.path.read_text(), '{gateway: {port: 5, /* kept */ bind: "auto"}}')
        self.assertEqual(edit.effect, "restart")

    def test_broken_by_hand(self) -> None:
        broken = "{\n  gateway: {\n    port 5\n  }\n}"
        self.path.write_text(broken)
        for dry_run in (False, True):
            with self.assertRaises(ConfigError) as told:
                self.edit(port(5), dry_run=dry_run)
            self.assertIn("line 3, column 10", told.exception.message)
            self.assertEqual(told.exception.path, str(self.path))
        self.assertEqual(self.path.read_text(), broken)
        self.path.write_text("[1]")
        with self.assertRaisesRegex(ConfigError, "expected an object"):
            self.edit(port(5))

    def test_link(self) -> None:
        """It stays; what is written is the file that it leads to, with the copies beside that."""
        dotfiles = self.folder / "dotfiles"
        dotfiles.mkdir()
        real = self.path.rename(dotfiles / "real.json")
        self.path.symlink_to("dotfiles/real.json")
        self.assertEqual(self.edit(port(5), dry_run=True).config.gateway.port, 5)
        self.assertTrue(self.edit(port(5)).written)
        self.assertTrue(self.path.is_symlink())
        self.assertFalse(real.is_symlink())
        self.assertEqual(real.read_text(), TEXT.replace("18789", "5"))
        self.assertEqual((dotfiles / "real.json.bak").read_text(), TEXT)
        self.assertEqual(self.names(), ["dotfiles", "openclaw.json"])

    def test_link_and_its_file_have_one_lock(self) -> None:
        """Whichever of the names two editors use, they wait for each other."""
        link = self.folder / "link.json"
        link.symlink_to(self.path)

        def change(document: Any) -> Any:
            with self.assertRaisesRegex(OpenClawError, "another program has been editing"):
                edit_config(link, port(6), {}, self.folder, sleep=self.slept.append)
            return port(5)(document)

        self.assertTrue(self.edit(change).written)

    def test_link_that_leads_nowhere(self) -> None:
        real = self.path.rename(self.folder / "real.json")
        for target, reason in (("elsewhere", "No such file"), ("openclaw.json", "Too many levels")):
            self.path.symlink_to(target)
            with self.assertRaisesRegex(ConfigError, reason):
                self.edit(port(5))
            self.path.unlink()
        self.assertEqual(real.read_text(), TEXT)
        self.assertEqual(self.names(), ["real.json"])

    def test_root_is_not_led_elsewhere(self) -> None:
        """A user's link does not make root write a file that is not that user's."""
        link = self.folder / "link.json"
        link.symlink_to(self.path)
        found = list(link.lstat())
        found[stat.ST_UID] += 1
        with (
            mock.patch.object(Path, "lstat", return_value=os.stat_result(found)),
            mock.patch.object(os, "geteuid", return_value=0),
            self.assertRaisesRegex(OpenClawError, "another user"),
        ):
            edit_config(link, port(5), {}, self.folder)
        self.assertEqual(self.path.read_text(), TEXT)

    def test_no_file(self) -> None:
        self.path.unlink()
        self.path.mkdir()
        with self.assertRaises(ConfigError):
            self.edit(port(5))

    def test_readonly(self) -> None:
        for value in ("1", "true"):
            self.environ["OPENCLAW_CONFIG_READONLY"] = value
            with self.assertRaisesRegex(OpenClawError, "OPENCLAW_CONFIG_READONLY is set"):
                self.edit(port(5))
            self.assertEqual(self.edit(port(5), dry_run=True).config.gateway.port, 5)
        self.assert_untouched()
        self.environ["OPENCLAW_CONFIG_READONLY"] = "0"
        self.assertTrue(self.edit(port(5)).written)

    def test_too_large(self) -> None:
        with self.assertRaisesRegex(OpenClawError, "larger than"):
            self.edit(lambda document: with_value(document, ("skills", "x"), "y" * module.MAX_CONFIG_BYTES))
        self.assert_untouched()

    def test_loses_mode(self) -> None:
        def without_mode(document: Any) -> Any:
            return without_value(document, ("gateway", "mode"))

        with self.assertRaisesRegex(OpenClawError, "lose gateway.mode$"):
            self.edit(without_mode, dry_run=True)
        self.assert_untouched()
        with self.assertRaisesRegex(OpenClawError, r"lose gateway.mode; the refused text is in .*rejected\.\d{8}T"):
            self.edit(without_mode, may_shrink=True)
        self.assertEqual(self.path.read_text(), TEXT)
        (rejected,) = self.folder.glob("openclaw.json.rejected.*")
        self.assertEqual(rejected.read_text(), TEXT.replace('mode: "local", ', ""))
        self.assertEqual(stat.S_IMODE(rejected.stat().st_mode), 0o600)

    def test_shrinks(self) -> None:
        def without_skills(document: Any) -> Any:
            return without_value(document, ("skills",))

        large = TEXT.replace("{\n", '{\n  skills: { x: "' + "y" * 600 + '" },\n', 1)
        self.path.write_text(large)
        with self.assertRaisesRegex(OpenClawError, r"shrink from \d+ to \d+ bytes"):
            self.edit(without_skills)
        self.assertEqual(self.path.read_text(), large)
        full = mock.patch.object(os, "write", side_effect=OSError(errno.ENOSPC, "No space left on device"))
        with full, self.assertRaisesRegex(OpenClawError, "could not be kept"):
            self.edit(without_skills)
        self.assertTrue(self.edit(without_skills, may_shrink=True).written)
        self.assertEqual(self.path.read_text(), TEXT)


class DiskTests(EditTestCase):
    def test_full_or_failing(self) -> None:
        """At whichever call the disk fails, the old file stays, and nothing else does."""
        for name in ("write", "fsync", "fchmod", "open"):
            for count in range(2):
                real = getattr(os, name)
                calls = 0

                def fails(*arguments: Any, _real: Any = real, _count: int = count, **named: Any) -> Any:
                    nonlocal calls
                    if arguments and str(arguments[0]).endswith((".lock", ".env", "openclaw.json")):
                        return _real(*arguments, **named)
                    calls += 1
                    if calls > _count:
                        raise OSError(errno.ENOSPC, "No space left on device")
                    return _real(*arguments, **named)

                told = self.assertRaisesRegex(OpenClawError, "cannot be written: No space.*; it is as it was")
                with mock.patch.object(os, name, fails), told:
                    self.edit(port(5))
                self.assert_untouched()

    def test_partial_write(self) -> None:
        real = os.write
        with mock.patch.object(os, "write", lambda descriptor, data: real(descriptor, data[:7])):
            self.edit(port(18790))
        self.assertEqual(self.path.read_text(), TEXT.replace("18789", "18790"))

    def test_interrupted(self) -> None:
        with mock.patch.object(os, "fsync", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
            self.edit(port(5))
        self.assert_untouched()

    def test_folder_cannot_be_flushed(self) -> None:
        real = os.fsync

        def fails(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EIO, "Input/output error")
            real(descriptor)

        with mock.patch.object(os, "fsync", fails), self.assertRaisesRegex(OpenClawError, "was written, but"):
            self.edit(port(18790))
        self.assertIn("18790", self.path.read_text())

    def test_folder_cannot_be_made(self) -> None:
        with self.assertRaisesRegex(OpenClawError, "cannot be written"):
            edit_config(self.path / "x" / "openclaw.json", port(5), {}, self.folder)


class RaceTests(EditTestCase):
    def test_changed_by_hand(self) -> None:
        def change(document: Any) -> Any:
            self.path.write_text(TEXT.replace("which port", "somebody else"))
            return with_value(document, ("gateway", "port"), 5)

        with self.assertRaisesRegex(OpenClawError, "changed by somebody else"):
            self.edit(change)
        self.assertIn("somebody else", self.path.read_text())
        self.assertEqual(self.names(), ["openclaw.json"])

    def test_removed_or_replaced_by_hand(self) -> None:
        def remove(document: Any) -> Any:
            self.path.unlink()
            return with_value(document, ("gateway", "port"), 5)

        def replace(document: Any) -> Any:
            self.path.unlink()
            self.path.mkdir()
            return with_value(document, ("gateway", "port"), 5)

        with self.assertRaisesRegex(OpenClawError, "changed by somebody else"):
            self.edit(remove)
        self.assertEqual(self.names(), [])
        self.path.write_text(TEXT)
        with self.assertRaisesRegex(OpenClawError, "changed by somebody else"):
            self.edit(replace)

    def test_created_by_somebody_else(self) -> None:
        self.path.unlink()

        def change(document: Any) -> Any:
            self.path.write_text(TEXT)
            return {"gateway": {"port": 5}}

        with self.assertRaisesRegex(OpenClawError, "changed by somebody else"):
            self.edit(change)
        self.assert_untouched()
        self.path.unlink()
        # No other way to come between the two last steps.
        in_between = mock.patch.object(module, "_check_unchanged", lambda *_: self.path.write_text(TEXT))
        with in_between, self.assertRaisesRegex(OpenClawError, "changed by somebody else"):
            self.edit(port(5))
        self.assert_untouched()

    def test_changed_while_the_ring_turns(self) -> None:
        """What a person saves while the copies are renamed is not overwritten."""
        # No other way to come between two of its steps.
        real = module._rotate

        def rotate(path: Path, copy: Path) -> None:
            real(path, copy)
            path.write_text("{ mine: 1 }")

        in_between = mock.patch.object(module, "_rotate", rotate)
        with in_between, self.assertRaisesRegex(OpenClawError, "changed by somebody else"):
            self.edit(port(5))
        self.assertEqual(self.path.read_text(), "{ mine: 1 }")
        self.assertEqual(self.names(), ["openclaw.json", "openclaw.json.bak"])

    def test_waits_for_another_editor(self) -> None:
        lock = os.open(self.folder / ".openclaw.json.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)

        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            if len(self.slept) == 3:
                self.path.write_text(TEXT.replace("18789", "7777"))
                os.close(lock)

        edit = edit_config(
            self.path, lambda document: with_value(document, ("skills",), {}), {}, self.folder, sleep=sleep
        )
        self.assertEqual(len(self.slept), 3)
        self.assertEqual(edit.config.gateway.port, 7777)  # the other one's change is not lost

    def test_other_editor_hangs(self) -> None:
        lock = os.open(self.folder / ".openclaw.json.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with self.assertRaisesRegex(OpenClawError, "another program has been editing it for 10 s"):
            self.edit(port(5))
        self.assertAlmostEqual(sum(self.slept), module.LOCK_TIMEOUT_S, 0)
        self.assert_untouched()

    def test_no_locks(self) -> None:
        none = mock.patch.object(fcntl, "flock", side_effect=OSError(errno.ENOLCK, "No locks available"))
        with none, self.assertRaisesRegex(OpenClawError, "No locks available"):
            self.edit(port(5))
        self.assert_untouched()
