"""Tests of L{openclaw.providers.local_spawn}."""

import errno
import json
import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw.providers import local_spawn
from openclaw.providers.local_spawn import (
    KEPT_LINES,
    MAX_LINE_BYTES,
    ChildProcess,
    LocalSettings,
    available_processors,
    child_environment,
    library_installed,
    resident_bytes,
)
from test.providers.local_fakes import FakeProcess, FakeReactor


class Owner:
    """Records what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def announced(self, url: str) -> None:
        self.told.append(("announced", url))

    def condemn(self, reason: str) -> None:
        self.told.append(("condemn", reason))

    def ended(self, reason: str) -> None:
        self.told.append(("ended", reason))


class SettingsTests(SynchronousTestCase):
    def test_child_line(self) -> None:
        line = LocalSettings("tiny", 100, 3, 5).child_line(Path("/a"), "key")
        self.assertTrue(line.endswith(b"\n"))
        expected = {"path": "/a", "api_key": "key", "alias": "tiny", "context_tokens": 100, "parallel": 3, "threads": 5}
        self.assertEqual(json.loads(line), expected)

    def test_threads_by_processors(self) -> None:
        for processors, threads in [(1, 1), (2, 2), (64, 4)]:
            self.patch(local_spawn, "available_processors", lambda count=processors: count)
            self.assertEqual(json.loads(LocalSettings("tiny").child_line(Path("/a"), "key"))["threads"], threads)

    def test_available_processors(self) -> None:
        self.patch(local_spawn.os, "sched_getaffinity", lambda pid: {3, 9})
        self.assertEqual(available_processors(), 2)
        monkey = self.patch(local_spawn.os, "cpu_count", lambda: None)
        delattr(os, "sched_getaffinity")
        self.assertEqual(available_processors(), 1)
        monkey.restore()


class EnvironmentTests(SynchronousTestCase):
    def test_no_secrets(self) -> None:
        given = {"PATH": "/bin", "HOME": "/h", "OPENCLAW_GATEWAY_TOKEN": "t", "OPENAI_API_KEY": "k", "PYTHONPATH": "/x"}
        here = str(Path.cwd())
        passed = child_environment(given, ["/a", ""])
        self.assertEqual(passed, {"PATH": "/bin", "HOME": "/h", "PYTHONPATH": f"/a{os.pathsep}{here}"})

    def test_library_installed(self) -> None:
        self.patch(local_spawn, "find_spec", lambda name: name)
        self.assertTrue(library_installed())
        self.patch(local_spawn, "find_spec", lambda name: None)
        self.assertFalse(library_installed())


class ResidentTests(SynchronousTestCase):
    def test_of_this_process(self) -> None:
        if not Path("/proc/self/status").exists():
            self.assertIsNone(resident_bytes(os.getpid()))
        else:
            self.assertGreater(resident_bytes(os.getpid()) or 0, 5 * 1024**2)

    def test_of_none(self) -> None:
        self.assertIsNone(resident_bytes(2**30))

    def test_without_the_line(self) -> None:
        self.patch(local_spawn.Path, "read_text", lambda path: "Name:\tzombie\n")
        self.assertIsNone(resident_bytes(1))


class ChildProcessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.owner = Owner()
        self.reactor = FakeReactor()
        self.child = ChildProcess(self.owner, b"settings\n")

    def spawn(self) -> FakeProcess:
        self.child.spawn(self.reactor, {"PATH": "/bin", "SECRET": "s"})
        return self.reactor.processes[0]

    def test_command(self) -> None:
        process = self.spawn()
        self.assertEqual(process.args, [sys.executable, "-P", "-m", "openclaw.providers.local_child"])
        self.assertEqual(set(process.env), {"PATH", "PYTHONPATH"})
        self.assertEqual((process.written, process.stdin_open), (b"settings\n", True))
        self.assertEqual(self.child.pid, 1000)

    def test_announced_in_pieces(self) -> None:
        process = self.spawn()
        for byte in b'log line\n@@READY {"url": "http://127.0.0.1:7"}\nmore':
            process.protocol.outReceived(bytes([byte]))
        self.assertEqual(self.owner.told, [("announced", "http://127.0.0.1:7")])
        self.assertEqual(list(self.child.last_lines), ["log line"])

    def test_announced_without_address(self) -> None:
        process = self.spawn()
        for line in (b"@@READY\n", b"@@READY \n", b"@@READY {}\n", b"@@READY []\n", b'@@READY {"url": 7}\n'):
            process.protocol.outReceived(line)
        self.assertEqual(self.owner.told, [("condemn", "it announced itself without an address")] * 4)

    def test_its_own_word_goes_before_the_status(self) -> None:
        process = self.spawn()
        process.protocol.outReceived(b'@@ERROR {"message": "no such model"}\n')
        process.end(1)
        self.assertEqual(self.owner.told, [("ended", "no such model")])
        self.assertIsNone(self.child.pid)

    def test_ended_by_signal(self) -> None:
        self.spawn().end(None, 9)
        ((what, reason),) = self.owner.told
        self.assertEqual(what, "ended")
        self.assertIn("signal 9", reason)

    def test_cannot_be_started(self) -> None:
        self.reactor.refuse = OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.child.spawn(self.reactor, {})
        self.assertEqual(
            self.owner.told, [("ended", "its process cannot be started: Resource temporarily unavailable")]
        )
        self.child.close_stdin()
        self.child.signal("KILL")

    def test_bounded_lines(self) -> None:
        process = self.spawn()
        process.protocol.errReceived(b"x" * (3 * MAX_LINE_BYTES))
        process.protocol.errReceived(b"y" * 10 + b"\n\xff\n")
        first, second = self.child.last_lines
        self.assertEqual((len(first), second), (MAX_LINE_BYTES, "\ufffd"))
        process.protocol.errReceived(b"".join(b"%d\n" % number for number in range(100)))
        self.assertEqual(list(self.child.last_lines), [str(number) for number in range(100 - KEPT_LINES, 100)])

    def test_signals(self) -> None:
        process = self.spawn()
        self.child.signal("TERM")
        process.gone = True
        self.child.signal("KILL")
        self.assertEqual(process.signals, ["TERM"])
        self.child.close_stdin()
        self.assertFalse(process.stdin_open)
