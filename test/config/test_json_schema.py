"""The schema of the configuration, compared with what the configuration itself accepts."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.json_schema import config_schema, is_list, settings


def at(path: str) -> dict[str, Any]:
    node: Any = config_schema()
    for step in path.split("."):
        options = node.get("anyOf", [node])
        node = next(
            found
            for option in options
            for found in (
                option.get("properties", {}).get(step),
                option.get("additionalProperties") or None,
                option.get("items"),
            )
            if found
        )
    return dict(node)


class SchemaTests(SynchronousTestCase):
    def test_is_json(self) -> None:
        self.assertEqual(json.loads(json.dumps(config_schema())), config_schema())

    def test_plain(self) -> None:
        port = at("gateway.port")
        described = {"default": 18789, "description": "TCP port to listen at."}
        self.assertEqual(port, {"type": "integer", "minimum": 1, "maximum": 65535, **described})
        self.assertEqual(at("gateway.mode")["enum"], ["local", "remote"])
        self.assertEqual(at("gateway.metrics.public")["type"], "boolean")
        self.assertEqual(at("gateway.metrics.public")["default"], False)
        self.assertIn("milliseconds", at("gateway.shutdownDrainMs")["description"])
        self.assertEqual(at("models.providers.x.baseUrl")["format"], "uri")
        self.assertEqual(at("models.providers.x.models.0.id")["pattern"], r"\S")
        self.assertEqual(at("models.providers.x.models.0.input")["default"], ["text"])
        self.assertEqual(at("agents.defaults.timeoutSeconds")["type"], "number")

    def test_records_are_closed(self) -> None:
        gateway = at("gateway")
        self.assertIs(gateway["additionalProperties"], False)
        self.assertIn("tailscale", gateway["properties"])  # accepted and not used
        self.assertNotIn("nope", gateway["properties"])
        self.assertEqual(at("models.providers.x")["required"], ["baseUrl"])

    def test_secrets_and_shorthands(self) -> None:
        kinds = [option["type"] for option in at("gateway.auth.token")["anyOf"]]
        self.assertEqual(kinds, ["string", "object"])
        self.assertEqual([option["type"] for option in at("agents.defaults.model")["anyOf"]], ["string", "object"])
        self.assertEqual([option["type"] for option in at("env.ANY")["anyOf"]], ["string", "object"])

    def test_amounts(self) -> None:
        self.assertEqual(at("session.maintenance.pruneAfter")["default"], "30d")
        self.assertEqual(at("session.maintenance.maxDiskBytes")["default"], "10gb")

    def test_is_list(self) -> None:
        self.assertTrue(is_list(("agents", "list")))
        self.assertTrue(is_list(("models", "providers", "x", "models")))
        for path in (("agents", "entries"), ("gateway",), ("nope", "x"), ("agents", "list", "0")):
            self.assertFalse(is_list(path))


class SettingsTests(SynchronousTestCase):
    def test_rows(self) -> None:
        rows = {row.key: row for row in settings()}
        self.assertEqual((rows["gateway.port"].kind, rows["gateway.port"].default), ("integer, 1 to 65535", 18789))
        self.assertEqual(rows["gateway.auth.token"].kind, "string or object")
        self.assertEqual(rows["gateway.trustedProxies"].kind, "list of string")
        self.assertEqual(rows["gateway.reload.mode"].kind, '"hybrid", "off"')
        self.assertEqual(rows["session.maintenance.pruneAfter"].kind, "string or number or false")
        self.assertIn("agents.defaults.model", rows)
        self.assertIn("agents.defaults.model.primary", rows)
        self.assertIn("models.providers.*.models.*.id", rows)
        self.assertIn("models.providers.*.headers.*", rows)
        self.assertIn("env.*", rows)
        self.assertNotIn("gateway.tailscale", rows)
        self.assertNotIn("gateway.auth.token.source", rows)
        self.assertEqual(len(rows), len(list(settings())))
        self.assertNotIn("L{", "".join(row.description for row in rows.values()))

    def test_every_setting_is_described(self) -> None:
        """In words that a table of settings can show by themselves."""
        for row in settings():
            self.assertRegex(row.description, r"^[A-Z][A-Za-z]* [a-zA-Z].{6,}", row.key)
            self.assertNotRegex(row.description, r"\bNone\b|[a-z]_[a-z]|\bits\b$", row.key)
