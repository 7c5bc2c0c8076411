"""Tests of L{openclaw.providers.local_child}, without the library and without a process."""

import io
import json
import sys
import threading
from types import ModuleType, SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from openclaw.providers import local_child
from openclaw.providers.local_child import (
    ERROR_MARK,
    MAX_SETTINGS_BYTES,
    NOT_INSTALLED,
    READY_MARK,
    SettingsError,
    configure,
    main,
    read_settings,
    start_server,
)

SETTINGS = {
    "path": "/models/a.gguf",
    "api_key": "secret",
    "alias": "tiny",
    "context_tokens": 4096,
    "parallel": 2,
    "threads": 3,
}


def line(**changes: object) -> bytes:
    return json.dumps({**SETTINGS, **changes}).encode() + b"\n"


def params() -> SimpleNamespace:
    return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())


class HeldInput(io.RawIOBase):
    """Standard input that stays open until it is told to end."""

    def __init__(self, first: bytes) -> None:
        self._first = io.BytesIO(first)
        self.end = threading.Event()

    def readline(self, size: int = -1) -> bytes:
        return self._first.readline(size)

    def read(self, size: int = -1) -> bytes:
        self.end.wait(10)
        return b""


class ReadSettingsTests(SynchronousTestCase):
    def test_good(self) -> None:
        self.assertEqual(read_settings(io.BytesIO(line() + b"more")), SETTINGS)

    def test_bad_lines_name_what_is_wrong(self) -> None:
        for given, said in [
            (b"", "not JSON"),
            (b"{\n", "not JSON"),
            (b"[]\n", "not an object"),
            (line(path=7), "path: expected str"),
            (line(path=""), "path: must not be empty"),
            (line(api_key=""), "api_key: must not be empty"),
            (line(parallel=0), "parallel: must not"),
            (line(parallel=-1), "parallel: must not"),
            (line(parallel=True), "parallel: expected int"),
            (line(threads=None), "threads: expected int"),
            (line(context_tokens="4096"), "context_tokens: expected int"),
            (line(alias="x" * MAX_SETTINGS_BYTES), "not JSON"),
        ]:
            error = self.assertRaises(SettingsError, read_settings, io.BytesIO(given))
            self.assertIn(said, str(error))


class ConfigureTests(SynchronousTestCase):
    def test_closed_and_lean(self) -> None:
        done = configure(params(), SETTINGS)
        self.assertEqual((done.hostnames, done.port, done.api_keys), (["127.0.0.1"], 0, ["secret"]))
        self.assertEqual((done.model.path, done.model_alias), ("/models/a.gguf", {"tiny"}))
        self.assertEqual((done.n_ctx, done.n_parallel), (8192, 2))
        self.assertEqual((done.cpuparams.n_threads, done.cpuparams_batch.n_threads), (3, 3))
        self.assertNotEqual(done.cors_origins, "*")
        self.assertEqual((done.ui, done.fit_params, done.warmup, done.endpoint_slots), (False,) * 4)
        self.assertLessEqual(done.cache_ram_mib, 64)
        self.assertGreater(done.n_threads_http, done.n_parallel)

    def test_start_server(self) -> None:
        library = ModuleType("xllamacpp")
        library.CommonParams = params  # type: ignore[attr-defined]
        library.Server = lambda given: ("server", given.api_keys)  # type: ignore[attr-defined]
        self.patch(sys, "modules", {**sys.modules, "xllamacpp": library})
        self.assertEqual(start_server(SETTINGS), ("server", ["secret"]))


class DieWithParentTests(SynchronousTestCase):
    def test_linux(self) -> None:
        asked: list[tuple[int, ...]] = []
        self.patch(local_child.ctypes, "CDLL", lambda name: SimpleNamespace(prctl=lambda *args: asked.append(args)))
        self.patch(local_child.sys, "platform", "linux")
        local_child.die_with_parent()
        self.assertEqual(asked, [(1, 9, 0, 0, 0)])

    def test_elsewhere(self) -> None:
        self.patch(local_child.ctypes, "CDLL", lambda name: self.fail("not Linux"))
        self.patch(local_child.sys, "platform", "darwin")
        local_child.die_with_parent()


class MainTests(SynchronousTestCase):
    def run_main(self, given: bytes, start: object) -> tuple[int, str, list[int]]:
        """Run to the end with a standard input that is held until the first line was said."""
        stdin, said, left = HeldInput(given), io.StringIO(), []
        out = SimpleNamespace(write=said.write, flush=stdin.end.set)
        status = main(stdin, out, start, left.append)  # type: ignore[arg-type]
        return status, said.getvalue(), left

    def test_serves_until_standard_input_ends(self) -> None:
        started = []

        def start(settings: object) -> SimpleNamespace:
            started.append(settings)
            return SimpleNamespace(listening_address="http://127.0.0.1:5")

        status, said, left = self.run_main(line(), start)
        self.assertEqual((status, left, started), (0, [0], [SETTINGS]))
        self.assertEqual(said, READY_MARK + '{"url": "http://127.0.0.1:5"}\n')

    def test_leaves_while_it_loads(self) -> None:
        left: list[int] = []
        gone = threading.Event()

        def leave(status: int) -> None:
            left.append(status)
            gone.set()

        def start(settings: object) -> SimpleNamespace:
            self.assertTrue(gone.wait(10))
            return SimpleNamespace(listening_address="http://127.0.0.1:5")

        main(io.BytesIO(line()), io.StringIO(), start, leave)
        self.assertEqual(left, [0])

    def failing(self, error: Exception) -> tuple[int, str]:
        def start(settings: object) -> object:
            raise error

        status, said, _left = self.run_main(line(), start)
        self.assertTrue(said.startswith(ERROR_MARK))
        return status, json.loads(said[len(ERROR_MARK) :])["message"]

    def test_more_on_standard_input(self) -> None:
        """Only its end means something."""
        stdin, left = io.BytesIO(b"x" * 10_000), list[int]()
        local_child.leave_at_end_of(stdin, left.append)
        self.assertEqual((stdin.read(), left), (b"", [0]))

    def test_not_installed(self) -> None:
        self.assertEqual(self.failing(ModuleNotFoundError("no", name="xllamacpp")), (1, NOT_INSTALLED))

    def test_broken_installation(self) -> None:
        status, message = self.failing(ModuleNotFoundError("No module named 'numpy'", name="numpy"))
        self.assertEqual((status, message), (1, "xllamacpp is broken: No module named 'numpy'"))
        self.assertEqual(self.failing(ImportError("libgomp.so.1")), (1, "xllamacpp is broken: libgomp.so.1"))

    def test_cannot_load(self) -> None:
        self.assertEqual(self.failing(RuntimeError("bad file")), (1, "the model cannot be loaded: bad file"))
        self.assertEqual(self.failing(RuntimeError()), (1, "the model cannot be loaded: RuntimeError"))

    def test_wrong_settings(self) -> None:
        status, said, left = self.run_main(b"nonsense\n", None)
        self.assertEqual((status, left), (2, []))
        self.assertEqual(said, ERROR_MARK + '{"message": "the settings line is not JSON"}\n')
