"""C{openclaw agents}."""

from test.cli.gateway_fake import RemoteTestCase


class ListTests(RemoteTestCase):
    def test_configuration(self) -> None:
        self.write(
            {
                "models": {"providers": {"acme": {"baseUrl": "http://127.0.0.1:1/v1", "models": []}}},
                "agents": {
                    "defaults": {"workspace": "/w"},
                    "entries": {"a": {"model": "acme/m", "name": "Anna"}, "b": {"default": True, "workspace": "/b"}},
                },
            }
        )
        self.assertEqual(self.run_command("agents", "list", "--json"), 0)
        self.assertEqual(
            self.json_out(),
            [
                {"id": "a", "name": "Anna", "workspace": "/w", "model": "acme/m", "bindings": 0, "isDefault": False},
                {"id": "b", "workspace": "/b", "model": "local/smollm2-135m", "bindings": 0, "isDefault": True},
            ],
        )
        self.run_command("agents", "list")
        self.assertEqual(
            self.out.splitlines(),
            [
                "Agent        Model               Workspace",
                "a            acme/m              /w",
                "b (default)  local/smollm2-135m  /b",
            ],
        )
        self.assertEqual(self.gateway.requests, [])

    def test_implicit_agent(self) -> None:
        self.run_command("agents", "list")
        self.assertEqual(self.out.splitlines()[0], "Agent           Model")
        self.run_command("agents", "list", "--json")
        self.assertEqual(
            self.json_out(), [{"id": "main", "model": "local/smollm2-135m", "bindings": 0, "isDefault": True}]
        )

    def test_gateway_elsewhere(self) -> None:
        self.gateway.methods["agents.list"] = {
            "defaultId": "x",
            "agents": [{"id": "x", "name": "X", "workspace": "/x", "model": {"primary": "p/m"}}, {"id": "y"}],
        }
        self.assertEqual(self.run_command("agents", "list", "--json", "--url", "ws://127.0.0.1:1", "--token", "t"), 0)
        self.assertEqual(
            self.json_out(),
            [
                {"id": "x", "name": "X", "workspace": "/x", "model": "p/m", "bindings": 0, "isDefault": True},
                {"id": "y", "bindings": 0, "isDefault": False},
            ],
        )
        self.gateway.methods["agents.list"] = lambda socket, frame: None
        self.run_command("agents", "list", "--json", "--url", "ws://127.0.0.1:1")
        self.assertEqual(self.json_out(), [])

    def test_help_names_all(self) -> None:
        self.assertEqual(self.run_command("agents", "--help"), 0)
        for name in ("add", "delete", "list"):
            self.assertIn(f"\n  {name} ", self.out)
