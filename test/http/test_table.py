"""Tests of L{openclaw.http.table} and L{openclaw.http.routes}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.schema import Config
from test.http.support import make_config, routes_of_nothing


class RouteTableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.routes = routes_of_nothing()

    def test_labels(self) -> None:
        for path, label in (
            (b"/v1/chat/completions", "/v1/chat/completions"),
            (b"/v1/models/openclaw/x", "/v1/models/{id}"),
            (b"/", "/"),
            (b"/made/up", "other"),
        ):
            self.assertEqual(self.routes.label(path), label)

    def test_paths_are_rows(self) -> None:
        """Each row is found by its own path, and none hides another."""
        config = make_config()
        paths = [route.path for route in self.routes]
        self.assertEqual(len(paths), len(set(paths)))
        for route in self.routes:
            self.assertIs(self.routes.find(config, route.path.replace("{id}", "x").encode()), route)

    def test_family(self) -> None:
        config = make_config()
        for path, found in (
            (b"/v1/models/a/b", True),
            (b"/v1/models/%C3%A9", True),
            (b"/v1/models/", False),
            (b"/v1/models/%ff", False),
            (b"/v1/models/%0a", False),
            (b"/v1/modelsx", False),
        ):
            self.assertIs(self.routes.find(config, path) is not None, found, path)

    def test_off(self) -> None:
        """A route that the configuration has off is none, and its path is one of the table's all the same."""
        self.assertIsNone(self.routes.find(Config(), b"/v1/models/x"))
        for path in (b"/v1/models", b"/v1/models/", b"/v1/models/x", b"/healthz"):
            self.assertIn(path, self.routes)
        self.assertNotIn(b"/x", self.routes)
