"""What is measured: how each target is configured and started, when it is ready, and how it is ended."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from benchmarks.stats import pinned

CHECKOUT = Path(__file__).resolve().parent.parent
POLL_S = 0.005
STOP_S = 10.0
READY_S = 120.0
HELP_S = 60.0
_LOG_LINES = 20
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")


class TargetError(Exception):
    """A target cannot be measured; the message says why and, where it helps, what to do."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something with a chat-completions endpoint.

    @ivar name: its name in the table.
    @ivar argv: the command that serves in the foreground.
    @ivar environment: its whole environment.
    @ivar port: the TCP port on 127.0.0.1 that it is told to use.
    @ivar ready_path: what answers 200 once it is ready.
    @ivar token: the bearer token; empty sends none.
    @ivar help_argv: the command that prints its help; empty when that is not measured.
    @ivar starts: how often it is started to time it.
    @ivar every_event: whether each event of the model server must arrive as one of its own.
    """

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    port: int
    ready_path: str = "/readyz"
    token: str = ""
    help_argv: tuple[str, ...] = ()
    starts: int = 1
    every_event: bool = True


def free_port() -> int:
    """A TCP port on 127.0.0.1 that is free now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def base_environment(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """
    What a target gets to see: where programs are, and a home folder of its own.

    @param folder: the home folder.
    @param environ: the environment to take from.
    """
    return {**{name: environ[name] for name in _KEPT_ENVIRONMENT if name in environ}, "HOME": str(folder)}


def model_server(folder: Path) -> Target:
    """
    The model server alone.

    @param folder: a folder of its own.
    """
    port = free_port()
    return Target(
        name="model server alone",
        argv=(sys.executable, "-m", "benchmarks.model_server", "--port", str(port)),
        environment={**base_environment(folder), "PYTHONPATH": str(CHECKOUT), "PYTHONSAFEPATH": "1"},
        port=port,
    )


def gateway_document(port: int, model_port: int, token: str) -> dict[str, object]:
    """
    The configuration of a gateway whose one agent uses the model server; ours and the original read the same.

    @param port: the gateway's port.
    @param model_port: the model server's port.
    @param token: the gateway's bearer token.
    """
    model = {
        "id": "m",
        "name": "m",
        "contextWindow": 200_000,
        "maxTokens": 8192,
        "input": ["text"],
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        "reasoning": False,
    }
    provider = {
        "baseUrl": f"http://127.0.0.1:{model_port}/v1",
        "apiKey": "none",
        "api": "openai-completions",
        "models": [model],
    }
    return {
        "gateway": {
            "mode": "local",
            "port": port,
            "bind": "loopback",
            "auth": {"mode": "token", "token": token},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
        },
        "models": {"providers": {"bench": provider}},
        "agents": {"defaults": {"model": {"primary": "bench/m"}, "skipBootstrap": True, "models": {"bench/m": {}}}},
    }


def _gateway(name: str, command: tuple[str, ...], folder: Path, model_port: int, *, ours: bool) -> Target:
    port, token = free_port(), secrets.token_hex(16)
    config = folder / "openclaw.json"
    config.write_bytes(msgspec.json.encode(gateway_document(port, model_port, token)))
    config.chmod(0o600)
    state = folder / "state"
    state.mkdir(mode=0o700)
    environment = {
        **base_environment(folder),
        "OPENCLAW_CONFIG_PATH": str(config),
        "OPENCLAW_STATE_DIR": str(state),
    }
    if ours and "-c" in command:
        environment["PYTHONPATH"] = str(CHECKOUT)
    return Target(
        name=name,
        argv=(*command, "gateway", "run", "--port", str(port)),
        environment=environment,
        port=port,
        token=token,
        help_argv=(*command, "--help"),
        starts=3 if ours else 1,
        every_event=ours,
    )


def our_command(given: str = "", scripts: Path = Path(sys.executable).parent) -> tuple[str, ...]:
    """
    How our C{openclaw} is run: as given, else the one installed beside this Python, else out of the checkout.

    @param given: a command line; empty looks for one.
    @param scripts: where this Python's console scripts are.
    @raise TargetError: when there is none.
    """
    if given:
        return tuple(shlex.split(given))
    installed = scripts / "openclaw"
    if installed.exists():
        return (str(installed),)
    try:
        found = importlib.util.find_spec("openclaw.cli.main")
    except ImportError:
        found = None
    if found is None:
        raise TargetError("openclaw is not installed beside this Python: pip install -e . or name it with --ours")
    return (sys.executable, "-c", "import sys; from openclaw.cli.main import main; sys.exit(main())")


def ours(folder: Path, model_port: int, given: str = "") -> Target:
    """
    The gateway of this project.

    @param folder: a folder of its own.
    @param model_port: the model server's port.
    @param given: the command line of C{openclaw}; empty looks for it.
    @raise TargetError: when it is not installed.
    """
    return _gateway("ours", our_command(given), folder, model_port, ours=True)


def find_original(given: str = "", environ: Mapping[str, str] = os.environ) -> Path | None:
    """
    Where the original's C{openclaw.mjs} is.

    @param given: the file or the folder that holds it; empty takes C{OC_ROOT} of the environment.
    @param environ: the environment.
    @return: the file, or L{None} when neither is set.
    @raise TargetError: when one is set and there is no such file.
    """
    place = given or environ.get("OC_ROOT", "")
    if not place:
        return None
    script = Path(place)
    if script.is_dir():
        script = script / "openclaw.mjs"
    if not script.is_file():
        raise TargetError(f"there is no {script}: --original or OC_ROOT must name the original's package folder")
    return script.resolve()


def original(folder: Path, model_port: int, script: Path, node: str = "node") -> Target:
    """
    The original gateway.

    @param folder: a folder of its own.
    @param model_port: the model server's port.
    @param script: its C{openclaw.mjs}.
    @param node: the Node program that runs it.
    @raise TargetError: when there is no Node.
    """
    program = shutil.which(node)
    if program is None:
        raise TargetError(f"the original needs Node, and there is no {node!r}: name it with --node")
    return _gateway("original", (program, str(script)), folder, model_port, ours=False)


def litellm(folder: Path, model_port: int, command: str) -> Target:
    """
    The LiteLLM proxy with one worker.

    @param folder: a folder of its own.
    @param model_port: the model server's port.
    @param command: its command line.
    @raise TargetError: when there is no such program.
    """
    program, *arguments = shlex.split(command)
    found = shutil.which(program)
    if found is None:
        raise TargetError(f"there is no {program!r}: name it with --litellm")
    port, token = free_port(), "sk-" + secrets.token_hex(16)
    backend = {"model": "openai/m", "api_base": f"http://127.0.0.1:{model_port}/v1", "api_key": "none"}
    config = folder / "litellm.yaml"  # JSON is YAML
    config.write_bytes(
        msgspec.json.encode(
            {
                "model_list": [{"model_name": "openclaw", "litellm_params": backend}],
                "general_settings": {"master_key": token},
            }
        )
    )
    return Target(
        name="LiteLLM",
        argv=(found, *arguments, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
        environment={**base_environment(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        port=port,
        ready_path="/health/readiness",
        token=token,
        help_argv=(found, *arguments, "--help"),
        every_event=False,
    )


class Started(msgspec.Struct, frozen=True):
    """
    A target that is ready.

    @ivar pid: its process.
    @ivar ready_s: from its exec to the first 200.
    @ivar log: the file with what it printed.
    """

    pid: int
    ready_s: float
    log: Path

    def last_lines(self) -> str:
        """The end of what it printed."""
        return last_lines(self.log)


def last_lines(log: Path) -> str:
    """
    @param log: a file of text.
    @return: its last lines, not more than 20.
    """
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


def answers_200(port: int, path: str, timeout_s: float = 1.0) -> bool:
    """
    Ask 127.0.0.1 once.

    @param port: the TCP port.
    @param path: the request path.
    @param timeout_s: how long to wait, for the connection and for the answer.
    @return: whether a 200 came.
    """
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=timeout_s)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(64).startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 "))
    except OSError:
        return False


@contextmanager
def started(target: Target, core: int, log: Path, ready_within_s: float = READY_S) -> Iterator[Started]:
    """
    Start a target on one core, wait until it is ready, and end it afterwards, with whatever it started itself.

    @param target: what to start.
    @param core: the processor core it stays on.
    @param log: the file its output goes to.
    @param ready_within_s: how long it may take.
    @raise TargetError: when it ends before it is ready, or takes too long; the message holds its last words.
    """
    with log.open("wb") as output, pinned(core):
        begun_s = time.perf_counter()
        try:
            process = subprocess.Popen(
                target.argv,
                env=target.environment,
                cwd=target.environment["HOME"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise TargetError(f"{target.argv[0]} cannot be started: {error.strerror}") from None
    try:
        while not answers_200(target.port, target.ready_path):
            if process.poll() is not None:
                raise TargetError(
                    f"it ended with status {process.returncode} before it was ready; last words:\n{last_lines(log)}"
                )
            if time.perf_counter() - begun_s > ready_within_s:
                raise TargetError(f"it was not ready within {ready_within_s:g} s; last words:\n{last_lines(log)}")
            time.sleep(POLL_S)
        yield Started(process.pid, time.perf_counter() - begun_s, log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and kill it and its session when it does not or leaves something behind."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its session is its own, see start_new_session
    process.wait(STOP_S)


def help_wall_s(target: Target, core: int, runs: int) -> list[float]:
    """
    How long the command takes to print its help.

    @param target: whose command.
    @param core: the processor core it runs on.
    @param runs: how often; one more run goes first, to have its files in memory.
    @return: the durations, in seconds.
    @raise TargetError: when it fails or takes too long.
    """
    durations = []
    for _ in range(runs + 1):
        with pinned(core):
            begun_s = time.perf_counter()
            try:
                done = subprocess.run(
                    target.help_argv,
                    check=False,
                    env=target.environment,
                    cwd=target.environment["HOME"],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=HELP_S,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise TargetError(f"{shlex.join(target.help_argv)}: {error}") from None
            durations.append(time.perf_counter() - begun_s)
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise TargetError(f"{shlex.join(target.help_argv)} exits with {done.returncode}: {' '.join(last)}")
    return durations[1:]
