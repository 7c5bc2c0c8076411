"""C{twistd openclaw} as a process, out of the checkout."""

import socket

from openclaw._version import __version__
from test.scenario.support import TOKEN, TWISTD, Client, GatewayTestCase, text_of
from test.scenario.test_process import READY_WITHIN_S


class TwistdTests(GatewayTestCase):
    def test_serves_and_stops(self) -> None:
        self.write(self.document())
        gateway = self.twistd()
        self.assertLess(gateway.age_s, READY_WITHIN_S)
        self.assertIn(f"openclaw {__version__} listens at http://127.0.0.1:{self.port}", gateway.out)
        status, answer = Client(self.port).chat("chunks=2")
        self.assertEqual((status, answer["choices"][0]["message"]["content"].split()), (200, ["w0.0", "w1.0"]))
        self.assertEqual(text_of(list(Client(self.port).stream("chunks=2"))), "w0.0 w1.0 ")
        self.assertEqual(gateway.end(), -15)
        self.assertNotIn("Traceback", gateway.out + gateway.err)

    def test_a_stream_may_finish(self) -> None:
        self.write(self.document())
        gateway = self.twistd()
        stream = Client(self.port).stream("chunks=40 delay=20")
        events = [next(stream) for _ in range(3)]
        gateway.process.terminate()
        gateway.wait_for("stopping; 1 run")
        self.assertEqual(Client(self.port).get("/readyz")[0], 503)
        events += stream
        self.assertEqual(events[-1], "[DONE]")
        self.assertTrue(text_of(events).endswith("w39.0 "))
        self.assertEqual(gateway.wait(), -15)

    def test_options(self) -> None:
        config = self.write(self.document(port=1, bind="lan"), self.home / "c.json")
        gateway = self.twistd("--config", config.name, "--port", str(self.port), "--bind", "loopback", "--profile", "x")
        self.assertEqual(Client(self.port).get("/v1/models")[0], 200)
        self.assertTrue((self.home / ".openclaw-x" / "gateway.sqlite").exists())
        gateway.end()
        gateway = self.twistd("--config", config.name, "--endpoint", f"tcp:{self.port}:interface=127.0.0.1")
        self.assertEqual(Client(self.port).get("/v1/models")[0], 200)
        gateway.end()

    def test_help_and_version(self) -> None:
        asked = self.start("openclaw", "--help", program=TWISTD)
        self.assertEqual(asked.wait(), 0)
        for option in ("--config", "--port", "--bind", "--endpoint", "--profile"):
            self.assertIn(option, asked.out)
        asked = self.start("openclaw", "--version", program=TWISTD)
        self.assertEqual((asked.wait(), asked.out), (0, f"openclaw {__version__}\n"))


class RefusedTests(GatewayTestCase):
    def test_before_anything_starts(self) -> None:
        refused = self.start("openclaw", program=TWISTD)
        self.assert_one_line(refused, 78, "no credential: run openclaw quickstart, or set OPENCLAW_GATEWAY_TOKEN")
        self.write({"gateway": {"port": "x", "bind": "wan"}})
        refused = self.start("openclaw", program=TWISTD)
        self.assertEqual(refused.wait(), 78)
        self.assertEqual(len(refused.err.splitlines()), 3)
        refused = self.start("openclaw", "--endpoint", "unix:x", "--port", "1", program=TWISTD)
        self.assertNotEqual(refused.wait(), 0)
        self.assertIn("--endpoint takes the place of --port and --bind", refused.out + refused.err)

    def test_busy_port(self) -> None:
        self.write(self.document())
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", self.port))
            holder.listen()
            refused = self.start("openclaw", program=TWISTD)
            self.assertEqual(refused.wait(), 1)
        told = [line for line in refused.out.splitlines() if "cannot start" in line]
        self.assertEqual(len(told), 1)
        self.assertIn("Address already in use", told[0])
        self.assertNotIn("Traceback", refused.out + refused.err)

    def test_second_gateway(self) -> None:
        self.write(self.document())
        first = self.gateway()
        second = self.start("openclaw", "--port", str(self.port + 1), program=TWISTD)
        self.assertEqual(second.wait(), 78)
        self.assertIn(f"cannot start: gateway already running (pid {first.process.pid})", second.out)
        self.assertNotIn("Traceback", second.out + second.err)

    def test_contract_of_none(self) -> None:
        self.write({"gateway": {"auth": {"mode": "none"}}})
        refused = self.start("openclaw", "--endpoint", f"tcp:{self.port}", program=TWISTD)
        self.assert_one_line(refused, 78, 'gateway.auth.mode "none" needs')
        self.assertNotIn(TOKEN, refused.err)
