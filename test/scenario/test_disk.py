"""A store that is full, read-only or on a failing disk: what clients are told, what is kept, and that it recovers."""

import contextlib
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable

from openclaw.store.health import LASTING_S
from openclaw.store.writer import PROBE_INTERVAL_S
from test.scenario.drain_support import AmidWorkTestCase, Answer, ask
from test.scenario.support import DEADLINE_S, Client, Program
from test.scenario.test_process import until

FAILING = (sys.executable, "-P", "-m", "test.scenario.failing_disk")
LONG = "long " * 10_000
"""A turn that does not fit into the pages that the store has."""

STABLE = {"model": "openclaw/moody", "user": "a"}
NOISE_S = 5.0


class DiskTests(AmidWorkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write_config()
        self.fault = self.home / "fault"
        self.set_fault("")

    def set_fault(self, name: str) -> None:
        fresh = self.home / "fresh"
        fresh.write_text(name)
        fresh.replace(self.fault)

    def failing_gateway(self) -> Program:
        """A gateway that looks at the file."""
        started = self.start(str(self.fault), "gateway", "run", program=FAILING)
        started.wait_for(r"listening at (\S+)\n")
        return started

    def model_read(self) -> list[tuple[str, str]]:
        """What the model read last, without its instructions."""
        return [(message["role"], message["content"]) for message in self.moody.prompts[-1][1:]]

    def assert_refused(self, answer: Answer, code: str) -> None:
        self.assertEqual((answer.status, answer.error["type"], answer.error["code"]), (503, "api_error", code))
        self.assertNotIn(str(self.home), answer.error["message"])

    def assert_outage(self, gateway: Program, code: str, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """Go through an outage of the disk."""
        self.assertEqual(ask(self.port, "one", **STABLE).status, 200)
        begin()
        began_s = time.monotonic()
        self.assert_nothing_is_stored(code)
        until(lambda: Client(self.port).get("/readyz")[0] == 503)
        self.assertGreater(time.monotonic() - began_s, LASTING_S - 0.5)
        self.assertEqual(Client(self.port).get("/readyz")[1]["failing"], ["store"])
        self.assertEqual(Client(self.port).get("/healthz")[0], 200)
        end()
        ended_s = time.monotonic()
        until(lambda: Client(self.port).get("/readyz")[0] == 200)
        self.assertLess(time.monotonic() - ended_s, PROBE_INTERVAL_S + NOISE_S)
        self.assertIn("it can be written again", gateway.err)
        self.assert_goes_on(gateway)

    def assert_nothing_is_stored(self, code: str) -> None:
        """What is to be stored is refused, all else is served."""
        for stream in (False, True, False, True):
            self.assert_refused(ask(self.port, LONG, stream=stream, **STABLE), code)
        self.assertEqual(ask(self.port, "unstored", model="openclaw/moody").status, 200)

    def assert_goes_on(self, gateway: Program) -> None:
        """The session goes on where it was, and the log was not flooded."""
        self.assertEqual(ask(self.port, "two", **STABLE).status, 200)
        self.assertEqual(self.model_read(), [("user", "one"), ("assistant", "echo one"), ("user", "two")])
        failures = [line for line in gateway.told if "] store: " in line and " failed: " in line]
        self.assertIn(len(failures), (1, 2), gateway.err)
        self.assertNotIn("Traceback", gateway.err)

    def test_full(self) -> None:
        gateway = self.failing_gateway()
        self.assertEqual(ask(self.port, "one", **STABLE).status, 200)
        self.set_fault("full")
        self.assert_nothing_is_stored("store_full")
        self.set_fault("")
        self.assert_goes_on(gateway)
        self.assertEqual(gateway.end(), 0)

    def test_read_only(self) -> None:
        gateway = self.failing_gateway()
        self.assert_outage(gateway, "store_readonly", lambda: self.set_fault("readonly"), lambda: self.set_fault(""))
        self.assertEqual(gateway.end(), 0)

    def test_writes_that_fail(self) -> None:
        """Real ones: the process may not make a file longer."""
        gateway = self.gateway()
        for number in range(5):
            self.assertEqual(ask(self.port, f"{number} {LONG}", model="openclaw/moody", user="b").status, 200)
        log_bytes = (self.state_dir / "gateway.sqlite-wal").stat().st_size
        pid, unlimited = gateway.process.pid, resource.RLIM_INFINITY
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)

        def limit(size_bytes: int) -> None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, hard))

        self.assertGreater(log_bytes, 200_000)
        self.assert_outage(gateway, "store_unavailable", lambda: limit(200_000), lambda: limit(unlimited))
        gateway.end(signal.SIGKILL)
        self.gateway()
        self.assertEqual(ask(self.port, "three", **STABLE).status, 200)
        said = [text for role, text in self.model_read() if role == "user"]
        self.assertEqual(said, ["one", "two", "three"])
        with contextlib.closing(sqlite3.connect(self.state_dir / "gateway.sqlite")) as store:
            self.assertEqual(store.execute("PRAGMA integrity_check").fetchall(), [("ok",)])

    def test_amid_a_run(self) -> None:
        """An answer that cannot be stored is no success; its turn is kept, and the next one works."""
        self.failing_gateway()
        stream = self.streaming("chunks=20 delay=50", user="a")
        whole = self.asking("chunks=20 delay=50", user="b")
        until(lambda: self.model_server.stats()["requests"] == 2)
        self.set_fault("readonly")
        events = stream.result(DEADLINE_S).events
        self.assertEqual((events[-2]["error"]["code"], events[-1]), ("store_readonly", "[DONE]"))
        answer = whole.result(DEADLINE_S)
        self.assert_refused(answer, "store_readonly")
        self.assertEqual(answer.headers["x-should-retry"], "false")
        self.set_fault("")
        self.assertEqual(ask(self.port, "chunks=1", user="a").status, 200)
        with contextlib.closing(sqlite3.connect(self.state_dir / "gateway.sqlite")) as store:
            entries = store.execute("SELECT role FROM entries ORDER BY seq").fetchall()
        self.assertEqual(entries, [("user",), ("user",), ("user",), ("assistant",)])
