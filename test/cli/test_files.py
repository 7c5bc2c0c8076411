"""Tests of L{openclaw.cli.files}."""

from contextlib import nullcontext
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.files import new_file, whole_file


class NewFileTests(SynchronousTestCase):
    def test_is_its_owners(self) -> None:
        path = Path(self.mktemp())
        with new_file(path) as file:
            file.write(b"x")
        self.assertEqual((path.read_bytes(), path.stat().st_mode & 0o777), (b"x", 0o600))

    def test_replaces_nothing(self) -> None:
        path = Path(self.mktemp())
        path.write_bytes(b"theirs")
        with self.assertRaises(FileExistsError), new_file(path):
            self.fail("it was made")
        self.assertEqual(path.read_bytes(), b"theirs")


class WholeFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "f"

    def test_has_its_name_when_it_is_whole(self) -> None:
        with whole_file(self.path) as file:
            file.write(b"x")
            self.assertFalse(self.path.exists())
        self.assertEqual((list(self.folder.iterdir()), self.path.read_bytes()), ([self.path], b"x"))

    def test_is_gone_after_an_error(self) -> None:
        with self.assertRaises(ZeroDivisionError), whole_file(self.path):
            raise ZeroDivisionError
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_replaces_only_if_asked_to(self) -> None:
        self.path.write_bytes(b"theirs")
        for has_links in (True, False):
            refused = nullcontext() if has_links else mock.patch("os.link", side_effect=PermissionError(1, "no links"))
            with self.assertRaises(FileExistsError), refused, whole_file(self.path) as file:
                file.write(b"ours")
            self.assertEqual(self.path.read_bytes(), b"theirs")
        with whole_file(self.path, replaces=True) as file:
            file.write(b"ours")
        self.assertEqual(self.path.read_bytes(), b"ours")
