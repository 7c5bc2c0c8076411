"""
Real gateways in processes of their own, and a model server for them.

The tests of this layer block: they start programs, talk to them as a client would, and wait for their end, each wait
with a deadline.
"""

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from benchmarks.model_server import serve

CHECKOUT = Path(__file__).resolve().parents[2]
TOKEN = "scenario-token"
DEADLINE_S = 15.0
"""Bound of every single wait, in seconds."""

OPENCLAW = (sys.executable, "-P", "-c", "import sys; from openclaw.cli.main import main; sys.exit(main())")
TWISTD = (sys.executable, "-P", "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")


class Program:
    """
    A program that was started.

    @ivar process: its process.
    @ivar folder: where its output goes.
    """

    def __init__(
        self, command: tuple[str, ...], environ: dict[str, str], folder: Path, cwd: Path, out: int | None = None
    ) -> None:
        self.folder = folder
        self._began_s = time.monotonic()
        with (folder / "out").open("wb") as file, (folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                command, env=environ, cwd=cwd, stdin=subprocess.DEVNULL, stdout=file if out is None else out, stderr=err
            )

    @property
    def out(self) -> str:
        """What it has written to standard output."""
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        """What it has written to standard error."""
        return (self.folder / "err").read_text()

    @property
    def told(self) -> list[str]:
        """The lines on standard error."""
        return self.err.splitlines()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it has written something."""
        while self.age_s < DEADLINE_S:
            found = re.search(pattern, self.out + self.err)
            if found is not None:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(f"{pattern!r} did not come, status {self.process.poll()}:\n{self.out}\n{self.err}")

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began_s

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; give the exit status, negative for a signal."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; give the exit status."""
        return self.process.wait(DEADLINE_S)


class Client:
    """One connection to a gateway, used once."""

    def __init__(self, address: int | str, token: str = TOKEN) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", timeout=DEADLINE_S)
        self._connection.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self._connection.sock.settimeout(DEADLINE_S)
        self._connection.sock.connect(address if isinstance(address, str) else ("127.0.0.1", address))
        self._headers = {"Authorization": f"Bearer {token}", "Host": "localhost"}

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a GET."""
        return self._ask("GET", path, None)

    def chat(self, text: str, **fields: Any) -> tuple[int, Any]:
        """Status and JSON of a chat completion that is not streamed."""
        return self._ask("POST", "/v1/chat/completions", self.body(text, **fields))

    def stream(self, text: str, **fields: Any) -> Iterator[Any]:
        """The events of a streamed one, C{[DONE]} as a string, as they come."""
        body = self.body(text, stream=True, **fields)
        self._connection.request("POST", "/v1/chat/completions", body, self._headers)
        response = self._connection.getresponse()
        assert response.status == 200, response.read()
        with contextlib.closing(self._connection):
            for line in response:
                if line.startswith(b"data: "):
                    data = line[6:].strip()
                    yield "[DONE]" if data == b"[DONE]" else json.loads(data)

    @staticmethod
    def body(text: str, **fields: Any) -> str:
        """A request body."""
        return json.dumps({"model": "openclaw", "messages": [{"role": "user", "content": text}], **fields})

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, Any]:
        with contextlib.closing(self._connection):
            self._connection.request(method, path, body, self._headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())


def text_of(events: list[Any]) -> str:
    """The text of streamed events."""
    choices = [event["choices"][0] for event in events if event != "[DONE]" and event["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def free_port() -> int:
    """A TCP port that is free now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ModelServerThread:
    """
    The model server of the benchmarks, in a thread.

    Its answers are C{w0.0 w1.0 ...}; a message like C{chunks=50 delay=20} says how many words and how slowly.

    @ivar port: its TCP port.
    """

    def __init__(self) -> None:
        self.port = 0
        self._is_up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._is_up.wait(DEADLINE_S)

    def _run(self) -> None:
        def listening(port: int) -> None:
            self.port = port
            self._is_up.set()

        self._task = self._loop.create_task(serve(0, listening))
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    def stats(self) -> dict[str, int]:
        """Its counters."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", "/stats")
            counters: dict[str, int] = json.loads(connection.getresponse().read())
            return counters

    def stop(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(DEADLINE_S)


class GatewayTestCase(TestCase):
    """
    A test with a home folder of its own and a model server.

    @ivar port: a free port for the gateway.
    @ivar environ: the environment of the programs.
    """

    timeout = 60

    def setUp(self) -> None:
        self.model_server = ModelServerThread()
        self.addCleanup(self.model_server.stop)
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.state_dir = self.home / ".openclaw"
        self.port = free_port()
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        self.environ = {**kept, "HOME": str(self.home), "PYTHONPATH": str(CHECKOUT)}

    def document(self, token: str | None = TOKEN, **gateway: Any) -> dict[str, Any]:
        """A configuration whose agent uses the model server."""
        auth = {} if token is None else {"auth": {"token": token}}
        provider = {"baseUrl": f"http://127.0.0.1:{self.model_server.port}/v1", "apiKey": "none"}
        return {
            "gateway": {
                "port": self.port,
                **auth,
                "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
                **gateway,
            },
            "models": {"providers": {"p": {**provider, "models": [{"id": "m"}]}}},
            "agents": {"defaults": {"model": "p/m"}},
        }

    def write(self, document: dict[str, Any], path: Path | None = None) -> Path:
        """Write a configuration, at its usual place unless told otherwise."""
        path = path or self.state_dir / "openclaw.json"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(document))
        fresh.chmod(0o600)
        fresh.replace(path)
        return path

    def start(self, *arguments: str, program: tuple[str, ...] = OPENCLAW, out: int | None = None) -> Program:
        """
        Start a program; it is killed at the test's end if it still runs then.

        @param out: a file descriptor for its output, in place of a file.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        started = Program((*program, *arguments), self.environ, folder, self.home, out)

        def kill() -> None:
            if started.process.poll() is None:
                started.process.kill()
                started.wait()

        self.addCleanup(kill)
        return started

    def gateway(self, *arguments: str) -> Program:
        """Start C{openclaw gateway run} and wait until it serves."""
        started = self.start("gateway", "run", *arguments)
        started.wait_for(r"openclaw gateway listening at (\S+)\n")
        return started

    def twistd(self, *arguments: str) -> Program:
        """Start C{twistd -n openclaw} and wait until it serves."""
        started = self.start("openclaw", *arguments, program=TWISTD)
        started.wait_for(r"listens at (\S+)\n")
        return started

    def assert_one_line(self, program: Program, status: int, text: str) -> None:
        """It ends by itself with a status and one line on standard error."""
        self.assertEqual(program.wait(), status, program.err)
        self.assertNotIn("Traceback", program.err)
        self.assertEqual(program.out, "")
        self.assertEqual(len(program.told), 1, program.err)
        self.assertIn(text, program.told[0])
