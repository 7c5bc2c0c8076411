"""C{openclaw config validate}."""

from test.cli.support import CommandTestCase


class ValidateTests(CommandTestCase):
    def test_absent(self) -> None:
        self.assertEqual(self.run_command("config", "validate"), 0)
        self.assertIn("there is no such file; the defaults apply", self.out)

    def test_valid_with_warning(self) -> None:
        path = self.write({"skills": {}})
        self.assertEqual(self.run_command("config", "validate"), 0)
        self.assertEqual(self.out, f"{path}: valid\n  warning: these settings are accepted and not used: skills\n")
        self.assertEqual(self.run_command("config", "validate", "--json"), 0)
        self.assertEqual(
            self.json_out(),
            {"valid": True, "path": str(path), "warnings": ["these settings are accepted and not used: skills"]},
        )

    def test_invalid_names_all(self) -> None:
        path = self.write({"gateway": {"port": "x", "bind": 1, "nope": 1}, "nope": 1, "agents": {"list": 1}})
        self.assertEqual(self.run_command("config", "validate"), 1)
        self.assertEqual(len(self.err.splitlines()), 6)
        self.assertTrue(self.err.startswith(f"openclaw: the configuration {path} cannot be used:\n  "))
        self.assertEqual(self.run_command("config", "validate", "--json"), 1)
        told = self.json_out()
        self.assertEqual((told["valid"], told["path"], len(told["issues"])), (False, str(path), 5))

    def test_not_json5(self) -> None:
        self.write("{ a: ")
        self.assertEqual(self.run_command("config", "validate"), 1)
        self.assertIn("line 1", self.err)
