"""Changes of documents."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.edit_document import ABSENT, is_set, lost_entries, merged, value_at, with_value, without_value
from openclaw.errors import OpenClawError

PROVIDERS = {"models": {"providers": {"x": {"baseUrl": "u", "models": [{"id": "m", "maxTokens": 1}, {"id": "n"}]}}}}


class PathTests(SynchronousTestCase):
    def test_positions_that_no_list_has(self) -> None:
        for step in ("9", "9" * 5000, "-1", "\u00b2"):
            self.assertIs(value_at([1], (step,)), ABSENT)

    def test_value_at(self) -> None:
        document: Any = {"a": [{"b": None}]}
        self.assertIsNone(value_at(document, ("a", "0", "b")))
        for path in (("a", "1"), ("a", "x"), ("b",), ("a", "0", "b", "c")):
            self.assertIs(value_at(document, path), ABSENT)
        self.assertTrue(is_set(document, ("a", "0", "b")))

    def test_with_value(self) -> None:
        document: Any = {"a": {"b": 1}, "l": [1]}
        table: list[tuple[str, Any, Any]] = [
            ("a.b", 2, {"a": {"b": 2}, "l": [1]}),
            ("a.c.d", 2, {"a": {"b": 1, "c": {"d": 2}}, "l": [1]}),
            ("l.0", 5, {"a": {"b": 1}, "l": [5]}),
            ("l.1", 5, {"a": {"b": 1}, "l": [1, 5]}),
            ("l.1.x", 5, {"a": {"b": 1}, "l": [1, {"x": 5}]}),
            ("n.0", 5, {"a": {"b": 1}, "l": [1], "n": {"0": 5}}),
        ]
        for path, value, expected in table:
            self.assertEqual(with_value(document, tuple(path.split(".")), value), expected, path)
        self.assertEqual(document, {"a": {"b": 1}, "l": [1]})
        self.assertEqual(with_value(document, (), {"z": 1}), {"z": 1})
        self.assertEqual(with_value({"a": 1}, (), {"z": 1}, merge=True), {"a": 1, "z": 1})

    def test_lists_are_made_where_the_schema_has_them(self) -> None:
        self.assertEqual(with_value({}, ("agents", "list", "0", "id"), "a"), {"agents": {"list": [{"id": "a"}]}})
        path = ("models", "providers", "x", "models", "0")
        self.assertEqual(with_value({}, path, 1)["models"]["providers"]["x"]["models"], [1])
        self.assertEqual(with_value({}, ("agents", "entries", "0"), {}), {"agents": {"entries": {"0": {}}}})

    def test_refused(self) -> None:
        for path, reason in (
            ("a.b.c", "a.b: this is neither"),
            ("a.b.c.d", "a.b: this is neither"),
            ("l.x", "l: this is a list"),
            ("l.x.y", "l: this is a list"),
            ("l.3", "the list has 1 items"),
            ("l.99999999999999999", "the list has 1 items"),
        ):
            with self.assertRaisesRegex(OpenClawError, reason):
                with_value({"a": {"b": 1}, "l": [1]}, tuple(path.split(".")), 1)

    def test_merge(self) -> None:
        result = with_value(PROVIDERS, ("models", "providers", "x"), {"apiKey": "k"}, merge=True)
        self.assertEqual(result["models"]["providers"]["x"], {**PROVIDERS["models"]["providers"]["x"], "apiKey": "k"})
        more = {"models": [{"id": "n", "maxTokens": 2}, {"id": "o"}]}
        result = with_value(PROVIDERS, ("models", "providers", "x"), more, merge=True)
        self.assertEqual(
            result["models"]["providers"]["x"]["models"],
            [{"id": "m", "maxTokens": 1}, {"id": "n", "maxTokens": 2}, {"id": "o"}],
        )
        self.assertEqual(with_value({"l": [1]}, ("l", "0"), {"a": 1}, merge=True), {"l": [{"a": 1}]})

    def test_without_value(self) -> None:
        self.assertEqual(without_value({"a": {"b": 1, "c": 2}}, ("a", "b")), {"a": {"c": 2}})
        self.assertEqual(without_value({"a": [1, 2]}, ("a", "0")), {"a": [2]})
        for path in (("x",), ("a", "5"), ()):
            with self.assertRaises(OpenClawError):
                without_value({"a": [1]}, path)


class PatchTests(SynchronousTestCase):
    def test_merge_patch(self) -> None:
        document = {"a": {"b": 1, "c": 2}, "d": 3, "l": [1]}
        self.assertEqual(merged(document, {"a": {"b": None, "e": {"f": None}}, "d": 4}),
                         {"a": {"c": 2, "e": {}}, "d": 4, "l": [1]})  # fmt: skip
        self.assertEqual(merged(document, {"l": [1, 2]})["l"], [1, 2])
        self.assertEqual(merged(document, {"a": [1]})["a"], [1])
        self.assertEqual(document["d"], 3)
        with self.assertRaisesRegex(OpenClawError, "must be an object"):
            merged(document, [1])

    def test_lists_with_ids(self) -> None:
        patch = {"models": {"providers": {"x": {"models": [{"id": "n", "maxTokens": 9}, {"id": "o"}]}}}}
        self.assertEqual(
            merged(PROVIDERS, patch)["models"]["providers"]["x"]["models"],
            [{"id": "m", "maxTokens": 1}, {"id": "n", "maxTokens": 9}, {"id": "o"}],
        )

    def test_losses_need_to_be_named(self) -> None:
        place = ("models", "providers", "x", "models")
        for value in ([], [1]):
            patch = {"models": {"providers": {"x": {"models": value}}}}
            with self.assertRaisesRegex(OpenClawError, r"--replace-path models\.providers\.x\.models"):
                merged(PROVIDERS, patch)
            self.assertEqual(value_at(merged(PROVIDERS, patch, [place]), place), value)
        with self.assertRaisesRegex(OpenClawError, "takes items out"):
            merged({"l": [1, 2]}, {"l": [2]})


class LostEntriesTests(SynchronousTestCase):
    def test_table(self) -> None:
        before = {
            **PROVIDERS,
            "agents": {"entries": {"a": {}, "b": {}}, "defaults": {"models": {"p/m": {}}}},
            "plugins": {"entries": {"p": {}}},
            "auth": {"profiles": {"q": {}}},
        }
        table: list[tuple[str, Any, list[str]]] = [
            ("agents.entries", {"a": {}}, ["agents.entries.b"]),
            ("agents.entries", {"a": {"name": "x"}, "b": {}, "c": {}}, []),
            ("agents.entries.a", {}, []),
            ("agents", {}, ["agents.entries.a", "agents.entries.b", "agents.defaults.models.p/m"]),
            ("agents.defaults.models", {}, ["agents.defaults.models.p/m"]),
            (
                "models.providers.x",
                {"baseUrl": "v"},
                ["models.providers.x.models", *(f"models.providers.x.models.{one}" for one in "mn")],
            ),
            ("models.providers.x.models", [{"id": "m"}], ["models.providers.x.models.n"]),
            ("models.providers.x.models.0.id", "z", []),
            ("plugins.entries", {}, ["plugins.entries.p"]),
            ("auth.profiles", {}, ["auth.profiles.q"]),
            ("gateway.port", 1, []),
        ]
        for path, value, expected in table:
            steps = tuple(path.split("."))
            lost = lost_entries(before, with_value(before, steps, value), steps)
            self.assertEqual(lost, expected, path)
