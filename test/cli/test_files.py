"""Tests of L{openclaw.cli.files}."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.files import new_file


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
