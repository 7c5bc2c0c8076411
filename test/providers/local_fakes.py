"""A reactor whose processes are fed by hand, for the tests of the embedded model."""

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure


class FakeProcess:
    """A child that does what the test says and records what it is told."""

    def __init__(self, protocol: ProcessProtocol, pid: int, args: Sequence[str], env: Mapping[str, str]) -> None:
        self.protocol = protocol
        self.pid = pid
        self.args = args
        self.env = env
        self.written = b""
        self.signals: list[str] = []
        self.stdin_open = True
        self.gone = False

    def write(self, data: bytes) -> None:
        self.written += data

    def closeStdin(self) -> None:
        self.stdin_open = False

    def signalProcess(self, name: str) -> None:
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(name)

    def announce(self, url: str = "http://127.0.0.1:7") -> None:
        self.protocol.outReceived(f'@@READY {{"url": "{url}"}}\n'.encode())

    def end(self, status: int | None = 0, signal: int | None = None) -> None:
        self.gone = True
        reason = ProcessDone(0) if status == 0 and signal is None else ProcessTerminated(status, signal)
        self.protocol.processEnded(Failure(reason))


class FakeReactor(Clock):
    """A clock that records the processes it is asked to start."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[FakeProcess] = []
        self.refuse: OSError | None = None

    def spawnProcess(
        self, processProtocol: ProcessProtocol, executable: str, args: Sequence[str], env: Mapping[str, str]
    ) -> Any:
        if self.refuse is not None:
            raise self.refuse
        process = FakeProcess(processProtocol, 1000 + len(self.processes), args, env)
        self.processes.append(process)
        processProtocol.makeConnection(process)  # type: ignore[arg-type]
        return process
