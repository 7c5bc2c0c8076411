"""C{openclaw gateway run} as a process."""

import contextlib
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

from openclaw.store.sqlite import open_database
from openclaw.store.transcripts import read_branch
from openclaw.store.writer import close_connection
from test.scenario.support import DEADLINE_S, TOKEN, Client, GatewayTestCase, text_of

NO_CREDENTIAL = "openclaw: no credential: run openclaw quickstart, or set OPENCLAW_GATEWAY_TOKEN\n"
READY_WITHIN_S = 5.0
"""Far above the second that it takes, for a machine that is busy."""


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError("it did not come to that")
        time.sleep(0.02)


class RunTests(GatewayTestCase):
    def test_serves_and_stops(self) -> None:
        self.write(self.document())
        gateway = self.gateway()
        self.assertLess(gateway.age_s, READY_WITHIN_S)
        self.assertEqual(Client(self.port).get("/readyz")[0], 200)
        status, answer = Client(self.port).chat("chunks=3")
        self.assertEqual((status, answer["choices"][0]["message"]["content"].split()), (200, ["w0.0", "w1.0", "w2.0"]))
        events = list(Client(self.port).stream("chunks=3"))
        self.assertEqual((text_of(events), events[-1]), ("w0.0 w1.0 w2.0 ", "[DONE]"))
        self.assertEqual(Client(self.port, "wrong").get("/v1/models")[0], 401)
        self.assertEqual(gateway.end(), 0)
        self.assertEqual(gateway.out, f"openclaw gateway listening at http://127.0.0.1:{self.port}\n")
        (guess,) = gateway.told
        self.assertIn("a wrong credential from 127.0.0.1", guess)
        with self.assertRaises(ConnectionRefusedError):
            Client(self.port)

    def test_keeps_its_files_to_itself(self) -> None:
        self.environ["OPENCLAW_GATEWAY_TOKEN"] = TOKEN
        gateway = self.start("gateway", "run", "--port", str(self.port))
        gateway.wait_for("listening at")
        self.assertEqual(self.state_dir.stat().st_mode & 0o777, 0o700)
        for name in ("gateway.sqlite", "gateway.lock"):
            self.assertEqual((self.state_dir / name).stat().st_mode & 0o777, 0o600)
        self.assertEqual(gateway.end(signal.SIGINT), 0)

    def test_nobody_reads_its_output(self) -> None:
        self.write(self.document())
        reader, writer = os.pipe()
        os.close(reader)
        self.start("gateway", "run", out=writer)
        os.close(writer)

        def serves() -> bool:
            with contextlib.suppress(OSError):
                return Client(self.port).get("/readyz")[0] == 200
            return False

        until(serves)

    def test_variables(self) -> None:
        places = {name: self.home / name for name in ("home", "state", "conf")}
        config = self.write(self.document(token=None), places["conf"] / "c.json")
        self.environ["OPENCLAW_HOME"] = str(places["home"])
        self.environ["OPENCLAW_CONFIG_PATH"] = str(config)
        self.environ["OPENCLAW_GATEWAY_PASSWORD"] = "a-password"
        self.environ["OPENCLAW_GATEWAY_PORT"] = str(self.port + 1 if self.port < 60000 else self.port - 1)
        gateway = self.gateway("--port", str(self.port))
        self.assertEqual(Client(self.port, "a-password").get("/v1/models")[0], 200)
        self.assertTrue((places["home"] / ".openclaw" / "gateway.sqlite").exists())
        self.assertEqual(gateway.end(), 0)
        self.environ["OPENCLAW_STATE_DIR"] = str(places["state"])
        del self.environ["OPENCLAW_GATEWAY_PASSWORD"]
        self.environ["OPENCLAW_GATEWAY_TOKEN"] = "a-token"
        self.environ["OPENCLAW_GATEWAY_PORT"] = str(self.port)
        self.gateway()
        self.assertEqual(Client(self.port, "a-token").get("/v1/models")[0], 200)
        self.assertTrue((places["state"] / "gateway.sqlite").exists())
        self.assertFalse(self.state_dir.exists())

    def test_profile(self) -> None:
        self.write(self.document(), self.home / ".openclaw-dev" / "openclaw.json")
        gateway = self.start("--profile", "dev", "gateway", "run")
        gateway.wait_for("listening at")
        self.assertEqual(Client(self.port).get("/v1/models")[0], 200)
        self.assertTrue((self.home / ".openclaw-dev" / "gateway.sqlite").exists())

    def test_unix_socket(self) -> None:
        self.write(self.document())
        gateway = self.gateway("--endpoint", "unix:socket:mode=600")
        place = self.home / "socket"
        self.assertTrue(stat.S_ISSOCK(place.stat().st_mode))
        self.assertEqual(place.stat().st_mode & 0o777, 0o600)
        address = os.path.relpath(place)
        self.assertEqual(Client(address).chat("chunks=1")[0], 200)
        self.assertEqual(gateway.end(), 0)
        self.assertFalse(place.exists())

    def test_health_command(self) -> None:
        self.write(self.document())
        gateway = self.gateway()
        asked = self.start("health")
        self.assertEqual(asked.wait(), 0, asked.err)
        self.assertEqual(asked.out, f"http://127.0.0.1:{self.port}: started, ready\n")
        gateway.end()
        asked = self.start("health")
        self.assertEqual(asked.wait(), 1)
        self.assertIn("start it with: openclaw gateway run", asked.err)


class StopTests(GatewayTestCase):
    def streaming(self, steer: str, address: Any = None) -> tuple[threading.Thread, list[Any]]:
        """A client in a thread that reads a stream to its end; returns once it reads."""
        events: list[Any] = []

        def read() -> None:
            with contextlib.suppress(Exception):
                for event in Client(address or self.port).stream(steer):
                    events.append(event)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        until(lambda: len(events) > 2)
        return thread, events

    def test_a_stream_may_finish(self) -> None:
        self.write(self.document())
        gateway = self.gateway()
        thread, events = self.streaming("chunks=40 delay=25")
        gateway.process.terminate()
        gateway.wait_for("stopping; 1 run has 25 s to finish")
        self.assertEqual(Client(self.port).get("/readyz")[0], 503)
        status, answer = Client(self.port).chat("too late")
        self.assertEqual((status, answer["error"]["code"]), (503, "draining"))
        self.assertEqual(gateway.wait(), 0)
        thread.join(DEADLINE_S)
        self.assertEqual(text_of(events), "".join(f"w{number}.0 " for number in range(40)))
        self.assertEqual(events[-2]["choices"][0]["finish_reason"], "stop")
        self.assertEqual(events[-1], "[DONE]")

    def test_a_long_stream_to_a_slow_reader_comes_whole(self) -> None:
        self.write(self.document())
        gateway = self.gateway()
        client = Client(self.port)
        stream = client.stream("chunks=20000 size=2")
        first = [next(stream) for _ in range(3)]
        gateway.process.terminate()
        gateway.wait_for("stopping; 1 run")
        events = first + list(stream)
        self.assertEqual(gateway.wait(), 0)
        self.assertEqual(events[-1], "[DONE]")
        self.assertTrue(text_of(events).endswith("w19999.0 w19999.1 "))

    def test_what_takes_too_long_is_told(self) -> None:
        self.write(self.document(shutdownDrainMs=200))
        gateway = self.gateway()
        thread, events = self.streaming("chunks=1000 delay=50")
        began_s = time.monotonic()
        self.assertEqual(gateway.end(), 0)
        self.assertLess(time.monotonic() - began_s, 4)
        thread.join(DEADLINE_S)
        self.assertEqual(events[-2]["error"]["code"], "draining")
        self.assertEqual(events[-1], "[DONE]")

    def test_second_signal_ends_at_once(self) -> None:
        self.write(self.document())
        gateway = self.gateway()
        self.streaming("chunks=1000 delay=50")
        gateway.process.terminate()
        gateway.wait_for("stopping; 1 run")
        began_s = time.monotonic()
        self.assertEqual(gateway.end(), 143)
        self.assertLess(time.monotonic() - began_s, 1)

    def test_signal_while_it_starts(self) -> None:
        self.write(self.document())
        gateway = self.start("gateway", "run")
        until((self.state_dir / "gateway.lock").exists)
        self.assertIn(gateway.end(), (0, -signal.SIGTERM))

    def test_killed_and_started_again(self) -> None:
        self.write(self.document())
        gateway = self.gateway()
        self.assertEqual(Client(self.port).chat("chunks=1", user="me")[0], 200)
        self.streaming("chunks=1000 delay=50 user")
        self.assertEqual(gateway.end(signal.SIGKILL), -signal.SIGKILL)
        gateway = self.gateway()
        self.assertEqual(Client(self.port).chat("chunks=2", user="me")[0], 200)
        self.assertEqual(gateway.end(), 0)
        self.assertNotIn("Traceback", gateway.err)
        connection = open_database(self.state_dir / "gateway.sqlite")
        self.addCleanup(close_connection, connection)
        branch = read_branch(connection, "agent:main:openai-user:me")
        self.assertEqual([entry.message.role for entry in branch], ["user", "assistant"] * 2)


class ReloadTests(GatewayTestCase):
    def test_changed_token(self) -> None:
        self.write(self.document("first"))
        gateway = self.gateway()
        self.write(self.document("second"))
        gateway.wait_for("applied: gateway.auth.token")
        self.assertEqual(Client(self.port, "second").get("/v1/models")[0], 200)
        self.assertEqual(Client(self.port, "first").get("/v1/models")[0], 401)
        self.write({"gateway": {"port": "x"}})
        gateway.wait_for("config reload skipped")
        self.assertEqual(Client(self.port, "second").get("/v1/models")[0], 200)
        self.assertNotIn("second", gateway.err)

    def test_options_are_no_change(self) -> None:
        self.write(self.document("first", port=1, bind="lan"))
        gateway = self.gateway("--port", str(self.port), "--bind", "loopback")
        self.write(self.document("second", port=1, bind="lan"))
        gateway.wait_for("needs a restart: nothing")


class RefusedTests(GatewayTestCase):
    def test_no_credential(self) -> None:
        refused = self.start("gateway", "run")
        self.assertEqual((refused.wait(), refused.out, refused.err), (78, "", NO_CREDENTIAL))
        self.assertFalse(self.state_dir.exists())

    def test_all_errors_of_a_configuration(self) -> None:
        self.write(
            {
                "gateway": {"port": "x", "bind": "wan", "reload": 1},
                "nope": 1,
                "agents": {"defaults": {"maxConcurrent": 0}},
            }
        )
        refused = self.start("gateway", "run")
        self.assertEqual(refused.wait(), 78)
        lines = refused.err.splitlines()
        self.assertEqual(len(lines), 6, refused.err)
        for name in ("gateway.port", "gateway.bind", "gateway.reload", "nope", "agents.defaults.maxConcurrent"):
            self.assertIn(name, refused.err)

    def test_busy_port(self) -> None:
        self.write(self.document())
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", self.port))
            holder.listen()
            refused = self.start("gateway", "run")
            self.assert_one_line(refused, 1, f"cannot listen at 127.0.0.1:{self.port}: Address already in use")
        self.assertEqual(self.gateway().end(), 0)

    def test_second_gateway(self) -> None:
        self.write(self.document())
        first = self.gateway()
        second = self.start("gateway", "run", "--port", str(self.port + 1))
        self.assert_one_line(second, 78, f"gateway already running (pid {first.process.pid})")
        self.assertEqual(Client(self.port).get("/readyz")[0], 200)

    def test_state_folder_in_the_way(self) -> None:
        self.environ["OPENCLAW_STATE_DIR"] = str(self.home / "file")
        self.environ["OPENCLAW_GATEWAY_TOKEN"] = TOKEN
        (self.home / "file").write_text("")
        self.assert_one_line(self.start("gateway", "run"), 1, "is not a folder; set OPENCLAW_STATE_DIR")
        self.environ["OPENCLAW_STATE_DIR"] = "/proc/nobody-can-write-here"
        self.assert_one_line(self.start("gateway", "run"), 1, "cannot be written: ")

    def test_foreign_database(self) -> None:
        self.write(self.document())
        (self.state_dir / "gateway.sqlite").write_bytes(
            b"not a database at all, but long enough to be read as one" * 50
        )
        refused = self.start("gateway", "run")
        self.assertNotEqual(refused.wait(), 0)
        self.assertEqual(len(refused.err.splitlines()), 1, refused.err)

    def test_held_unix_socket(self) -> None:
        self.write(self.document())
        self.gateway("--endpoint", "unix:socket")
        self.environ["OPENCLAW_STATE_DIR"] = str(self.home / "other")
        self.environ["OPENCLAW_GATEWAY_TOKEN"] = TOKEN
        refused = self.start("gateway", "run", "--endpoint", "unix:socket")
        self.assert_one_line(refused, 1, "cannot listen at unix:socket: ")

    def test_unix_socket_of_a_killed_gateway(self) -> None:
        self.write(self.document())
        self.gateway("--endpoint", "unix:socket").end(signal.SIGKILL)
        self.assertEqual(self.gateway("--endpoint", "unix:socket").end(), 0)

    def test_bad_log_level(self) -> None:
        self.write(self.document())
        self.assert_one_line(self.start("--log-level", "loud", "gateway", "run"), 1, "unknown log level 'loud'")


class QuickstartTests(GatewayTestCase):
    def test_later_run_with_another_model(self) -> None:
        path = self.write(self.document())
        before = path.read_bytes()
        started = self.start("quickstart")
        started.wait_for("listening at")
        self.assertLess(started.age_s, READY_WITHIN_S)
        started.wait_for(r"chat/completions -H .*--show\)")
        self.assertEqual(Client(self.port).chat("chunks=1")[0], 200)
        self.assertEqual(started.end(), 0)
        self.assertEqual(path.read_bytes(), before)
        self.assertNotIn(TOKEN, started.out + started.err)
