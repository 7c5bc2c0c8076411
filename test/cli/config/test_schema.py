"""C{openclaw config schema}, and the group itself."""

from typing import Any

from test.cli.config.editing_support import EditingTestCase


class OtherTests(EditingTestCase):
    def test_schema(self) -> None:
        self.assertEqual(self.run_command("config", "schema"), 0)
        told: Any = self.json_out()
        self.assertEqual(told["properties"]["gateway"]["properties"]["port"]["default"], 18789)
        self.run_command("config", "schema", "--json")
        self.assertEqual(self.json_out(), told)

    def test_file_as_json(self) -> None:
        self.run_command("config", "file", "--json")
        self.assertEqual(self.json_out(), {"path": str(self.path), "exists": True})

    def test_help_lists_all(self) -> None:
        self.run_command("config", "--help")
        for name in ("file", "get", "patch", "schema", "set", "unset", "validate"):
            self.assertIn(f"  {name} ", self.out)
