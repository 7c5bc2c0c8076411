"""
What runs in the embedded model's own process: C{python -m openclaw.providers.local_child}.

The parent writes one line of JSON to our standard input and keeps that pipe open for as long as it wants the
model.  We answer on standard output with one line, C{@@READY {"url": ...}} or C{@@ERROR {"message": ...}}, and
leave when standard input ends: a gateway that died, even by C{kill -9}, leaves no model server behind.

Nothing of Twisted and little of the standard library is imported here: the model needs the memory.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, TextIO

from openclaw.installation import install_command

READY_MARK = "@@READY "
"""Begins the line that says that the model serves; JSON with C{url} follows."""

ERROR_MARK = "@@ERROR "
"""Begins the line that says why the model cannot serve; JSON with C{message} follows."""

NOT_INSTALLED = f"the extra `local` is not installed: {install_command('local')}"
"""What is said where xllamacpp cannot be found."""

MAX_SETTINGS_BYTES = 65536
"""Longest settings line that is read."""

PROMPT_CACHE_MIB = 64
"""Memory for prompts of idle slots; the library's own default is 8192 MiB."""

SPARE_HTTP_THREADS = 8
"""Threads for requests that wait for a slot, above those of the slots."""

_PR_SET_PDEATHSIG = 1
"""From C{linux/prctl.h}."""

_SETTINGS: dict[str, type] = {
    "path": str,
    "api_key": str,
    "alias": str,
    "context_tokens": int,
    "parallel": int,
    "threads": int,
}

Server = Any
"""C{xllamacpp.Server}; the module has no types."""


class SettingsError(Exception):
    """The line on standard input is not what the parent should send."""


def read_settings(stream: BinaryIO) -> dict[str, Any]:
    """
    Read the one line of settings.

    @return: C{path}, C{api_key}, C{alias} and the numbers C{context_tokens} (of one conversation), C{parallel}
        (conversations at a time) and C{threads}.
    @raise SettingsError: if it is no such line; the message names the field.
    """
    line = stream.readline(MAX_SETTINGS_BYTES)
    try:
        settings = json.loads(line)
    except ValueError:
        raise SettingsError("the settings line is not JSON") from None
    if not isinstance(settings, dict):
        raise SettingsError("the settings line is not an object")
    for name, kind in _SETTINGS.items():
        value = settings.get(name)
        if type(value) is not kind:
            raise SettingsError(f"{name}: expected {kind.__name__}")
        if not value or (isinstance(value, int) and value < 0):
            raise SettingsError(f"{name}: must not be empty or less than 1")
    return settings


def configure(params: Any, settings: Mapping[str, Any]) -> Any:
    """
    Fill in C{xllamacpp.CommonParams}.

    Memory of the context is reserved for all slots together, so C{n_ctx} is that of one conversation times their
    number.  C{fit_params} would probe the machine at start, which can take longer than the load itself.

    @return: C{params}.
    """
    parallel = settings["parallel"]
    params.model.path = settings["path"]
    params.model_alias = {settings["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.cors_origins = "http://127.0.0.1"
    params.cors_origins_explicit = True
    params.cors_credentials = False
    params.n_parallel = parallel
    params.n_ctx = settings["context_tokens"] * parallel
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.n_threads_http = parallel + SPARE_HTTP_THREADS
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.fit_params = False
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1
    return params


def start_server(settings: Mapping[str, Any]) -> Server:
    """
    Load the model and serve it on a free loopback port; blocks until it serves.

    @raise ImportError: if xllamacpp is missing or cannot be loaded here.
    @raise RuntimeError: if it cannot load the model.
    """
    import xllamacpp  # here, as its absence is an answer and not a crash

    return xllamacpp.Server(configure(xllamacpp.CommonParams(), settings))


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the end of standard input must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def say(out: TextIO, mark: str, **members: str) -> None:
    """Write one line to the parent."""
    out.write(mark + json.dumps(members) + "\n")
    out.flush()


def leave_at_end_of(stream: BinaryIO, leave: Callable[[int], object]) -> None:
    """
    Block until C{stream} ends, then leave.

    @param leave: C{os._exit}: the server's own end waits for its open connections, which may take for ever.
    """
    while stream.read(4096):
        pass
    leave(0)


def main(
    stdin: BinaryIO,
    stdout: TextIO,
    start: Callable[[Mapping[str, Any]], Server] = start_server,
    leave: Callable[[int], object] = os._exit,
) -> int:
    """
    Serve until standard input ends.

    @return: the exit status: 0 after serving, 1 if the model could not be loaded, 2 for wrong settings.
    """
    try:
        settings = read_settings(stdin)
    except SettingsError as error:
        say(stdout, ERROR_MARK, message=str(error))
        return 2
    watch = threading.Thread(target=leave_at_end_of, args=(stdin, leave), daemon=True)
    watch.start()
    try:
        server = start(settings)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "xllamacpp"
        say(stdout, ERROR_MARK, message=NOT_INSTALLED if absent else f"xllamacpp is broken: {error}")
        return 1
    except Exception as error:  # noqa: BLE001 - whatever the library throws is told to the parent
        say(stdout, ERROR_MARK, message=f"the model cannot be loaded: {str(error) or type(error).__name__}")
        return 1
    say(stdout, READY_MARK, url=server.listening_address)
    watch.join()
    return 0


if __name__ == "__main__":
    die_with_parent()
    # Unbuffered: the interpreter cannot end while a thread waits in the buffered one.
    with open(0, "rb", buffering=0) as unbuffered:
        sys.exit(main(unbuffered, sys.stdout))
