"""What the tests of C{openclaw backup} share."""

import sqlite3
from pathlib import Path

from openclaw.store.sqlite import open_database
from test.cli.support import CommandTestCase


class BackupTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.config = self.write('{ /* mine */ gateway: { auth: { token: "s3cret-s3cret" } } }')
        self.store = self.state_dir / "gateway.sqlite"
        self.connection = open_database(self.store)
        self.addCleanup(self.connection.close)
        self.connection.execute("CREATE TABLE marker (n)")
        self.connection.execute("INSERT INTO marker VALUES (1)")
        self.archive = self.home / "b.tar.gz"

    def create(self, *arguments: str) -> None:
        self.assertEqual(self.run_command("backup", "create", str(self.archive), *arguments), 0, self.err)

    def markers(self, path: Path | None = None) -> list[int]:
        connection = sqlite3.connect(path or self.store)
        try:
            return [n for (n,) in connection.execute("SELECT n FROM marker ORDER BY n")]
        finally:
            connection.close()

    def refused(self, reason: str, *arguments: str, status: int = 1) -> None:
        self.assertEqual(self.run_command("backup", *arguments), status, self.out)
        self.assertIn(reason, self.err)
        self.assertEqual(list(self.home.rglob(".openclaw-backup-*")), [])
