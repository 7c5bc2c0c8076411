"""C{twistd openclaw} as a process, out of the checkout."""

import contextlib
import os
import signal
import socket
import stat
import time
from collections.abc import Callable

from openclaw._version import __version__
from test.scenario.support import DEADLINE_S, TOKEN, TWISTD, Client, GatewayTestCase, text_of
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


class DaemonTests(GatewayTestCase):
    """As a daemon, which has nothing but its log."""

    def daemon(self, *arguments: str) -> int:
        """Start one and wait until it serves; give its process id."""
        before = os.umask(0o022)
        try:
            started = self.start("--pidfile=d.pid", *arguments, "openclaw", program=TWISTD[:-2])
        finally:
            os.umask(before)
        self.assertEqual(started.wait(), 0, started.err)
        pid = int(self.until(lambda: self.read("d.pid")))
        self.addCleanup(self.kill, pid)
        return pid

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def read(self, name: str) -> str:
        path = self.home / name
        return path.read_text() if path.exists() else ""

    def until(self, look: Callable[[], str]) -> str:
        deadline_s = time.monotonic() + DEADLINE_S
        while not (found := look()):
            self.assertLess(time.monotonic(), deadline_s)
            time.sleep(0.01)
        return found

    def test_log(self) -> None:
        """Masked lines at the level of the configuration, for nobody else, and no signal cuts a stream."""
        document = self.document()
        document["logging"] = {"redactPatterns": [r"listens at (\S+)"]}
        self.write(document)
        pid = self.daemon("--logfile=a.log")
        self.until(lambda: "[service.twistd] openclaw" in self.read("a.log") and "yes")
        self.assertNotIn(f"at http://127.0.0.1:{self.port}", self.read("a.log"))
        stream = Client(self.port).stream("chunks=60 delay=20")
        events = [next(stream)]
        for _ in range(20):
            self.assertEqual(Client(self.port, "wrong").get("/v1/models")[0], 401)
            if self.read("a.log").count("a wrong credential"):
                break
        (self.home / "a.log").rename(self.home / "a.moved")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(pid, number)
        self.until(lambda: "told to reload" in self.read("a.log") and "yes")
        self.assertEqual(stat.S_IMODE((self.home / "a.log").stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE((self.home / "a.moved").stat().st_mode), 0o600)
        events += stream
        self.assertEqual(events[-1], "[DONE]")
        os.kill(pid, signal.SIGTERM)
        self.until(lambda: "" if (self.home / "d.pid").exists() else "gone")
        log = self.read("a.moved") + self.read("a.log")
        self.assertEqual(log.count("a wrong credential"), 1, log)
        self.assertNotIn("twisted", log)
        self.assertNotIn("Traceback", log)

    def test_cannot_start(self) -> None:
        """The reason is in the log, though nothing else is left of the process."""
        self.write(self.document())
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", self.port))
            holder.listen()
            self.start("--pidfile=d.pid", "openclaw", program=TWISTD[:-2]).wait()
            self.until(lambda: "Address already in use" in self.read("twistd.log") and "yes")
        self.assertEqual(stat.S_IMODE((self.home / "twistd.log").stat().st_mode), 0o600)


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
