"""C{openclaw sessions}."""

from typing import Any

from openclaw.cli.talk import sessions as sessions_module
from test.cli.gateway_fake import RemoteTestCase


class SessionsTests(RemoteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.rows: list[dict[str, Any]] = [
            {
                "key": f"agent:main:{number}",
                "updatedAt": 1_000 + number,
                "status": "done",
                "model": "m",
                "modelProvider": "p",
                "totalTokens": 1200,
                "contextTokens": 64000,
            }
            for number in range(5)
        ]
        self.gateway.methods["sessions.list"] = self.page

    def page(self, socket: Any, frame: Any) -> Any:
        offset, limit = frame["params"]["offset"], frame["params"]["limit"]
        rows = self.rows[offset : offset + limit]
        more = offset + limit < len(self.rows)
        return {"path": "/p", "totalCount": len(self.rows), "hasMore": more, "sessions": [dict(row) for row in rows]}

    def test_table(self) -> None:
        self.rows[1] = {"key": "agent:b:\x1b[31m\nx", "updatedAt": None, "totalTokens": 5}
        for command in (("sessions",), ("sessions", "list"), ("sessions", "--all-agents")):
            self.assertEqual(self.run_command(*command), 0)
            lines = self.out.splitlines()
            self.assertEqual(lines[0].split("  ")[0], "Session")
            self.assertRegex(lines[1], r"^agent:main:0   +\d+d ago  done    p/m    1,200 / 64,000$")
            self.assertRegex(lines[2], r"^agent:b:\[31m x  never +5$")
            self.assertEqual(len(lines), 6)
        self.assertEqual(self.gateway.params_of("sessions.list")[0], {"limit": 100, "offset": 0})

    def test_filters(self) -> None:
        self.run_command("sessions", "--agent", "b", "--active", "5")
        self.assertEqual(
            self.gateway.params_of("sessions.list"), [{"agentId": "b", "activeMinutes": 5, "limit": 100, "offset": 0}]
        )

    def test_options_before_the_subcommand(self) -> None:
        """They count as if they stood behind it."""
        arguments = ("--agent", "b", "--active", "5", "--limit", "2", "--token", "t", "--timeout", "3", "--json")
        self.assertEqual(self.run_command("sessions", *arguments, "list"), 0, self.err)
        self.assertEqual(self.json_out()["limitApplied"], 2)
        self.assertEqual(
            self.gateway.params_of("sessions.list"), [{"agentId": "b", "activeMinutes": 5, "limit": 2, "offset": 0}]
        )
        self.assertEqual(self.gateway.params_of("connect")[0]["auth"], {"token": "t"})
        self.assertEqual(self.run_command("sessions", "--limit", "all", "list", "--limit", "1", "--json"), 0)
        self.assertEqual(self.json_out()["limitApplied"], 1)
        self.assertEqual(self.run_command("sessions", "--json", "list", "--agent", "b", "--all-agents"), 2)
        self.assertEqual(self.json_out()["ok"], False)

    def test_limit(self) -> None:
        self.assertEqual(self.run_command("sessions", "--limit", "2"), 0)
        self.assertEqual(self.out.splitlines()[-1], "2 of 5 sessions; show more with --limit N or --limit all")
        self.run_command("sessions", "--limit", "2", "--json")
        told = self.json_out()
        self.assertEqual(
            {name: told[name] for name in ("path", "count", "totalCount", "limitApplied", "hasMore", "activeMinutes")},
            {"path": "/p", "count": 2, "totalCount": 5, "limitApplied": 2, "hasMore": True, "activeMinutes": None},
        )
        self.assertGreater(told["sessions"][0]["ageMs"], 0)

    def test_pages(self) -> None:
        self.patch(sessions_module, "PAGE_SIZE", 2)
        self.run_command("sessions", "--limit", "ALL", "--json")
        told = self.json_out()
        self.assertEqual((told["count"], told["hasMore"], told["limitApplied"]), (5, False, None))
        self.assertEqual([row["key"] for row in told["sessions"]], [row["key"] for row in self.rows])
        self.assertEqual([params["offset"] for params in self.gateway.params_of("sessions.list")], [0, 2, 4])
        self.run_command("sessions", "--limit", "3", "--json")
        self.assertEqual([params["limit"] for params in self.gateway.params_of("sessions.list")[3:]], [2, 1])

    def test_sessions_that_move_meanwhile(self) -> None:
        self.patch(sessions_module, "PAGE_SIZE", 2)

        def page(socket: Any, frame: Any) -> Any:
            answer = self.page(socket, frame)
            self.rows.insert(0, self.rows.pop())  # the last one is used, and all others move on by one
            return answer

        self.gateway.methods["sessions.list"] = page
        self.run_command("sessions", "--limit", "all", "--json")
        keys = [row["key"] for row in self.json_out()["sessions"]]
        self.assertEqual(len(keys), len(set(keys)))

    def test_a_gateway_that_repeats_itself(self) -> None:
        self.gateway.methods["sessions.list"] = {"sessions": self.rows, "hasMore": True}
        self.assertEqual(self.run_command("sessions", "--limit", "all", "--json"), 0)
        self.assertEqual((self.json_out()["count"], self.json_out()["totalCount"]), (5, 5))

    def test_none(self) -> None:
        self.rows = []
        self.run_command("sessions")
        self.assertEqual(self.out, "no sessions yet\n")
        self.run_command("sessions", "--active", "5")
        self.assertEqual(self.out, "no session was used since then\n")
        self.gateway.methods["sessions.list"] = lambda socket, frame: None
        self.run_command("sessions", "--json")
        self.assertEqual(self.json_out()["sessions"], [])

    def test_usage(self) -> None:
        for arguments in (
            ("--limit", "0"),
            ("--limit", "x"),
            ("--limit", "9999999999"),
            ("--active", "0"),
            ("--agent", "a", "--all-agents"),
        ):
            self.assertEqual(self.run_command("sessions", *arguments), 2)
        self.assertEqual(self.gateway.requests, [])
