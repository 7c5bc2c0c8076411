"""
A process that appends turns and says on its standard output which ones are on disk; killed by its test.

Usage: C{python -m test.store.appending_child <database> <first number>}
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred

from openclaw.store.store import GatewayStore

from .connections import entry, run_record

SESSIONS = 3
IN_FLIGHT = 8


async def append(path: Path, first: int, call: Callable[..., Any]) -> None:
    store = await GatewayStore.open(path, call)
    tips: list[str | None] = []
    for session in range(SESSIONS):
        branch = await store.branch(f"agent:main:{session}")
        tips.append(branch[-1].id if branch else None)

    def step(number: int) -> None:
        session = number % SESSIONS
        turn = entry(f"{number:032x}", tips[session], run_id=f"run-{number}")
        tips[session] = turn.id
        done = store.begin_run(run_record(turn.run_id, f"agent:main:{session}"), [turn])
        done.addCallback(lambda _: os.write(1, f"{number}\n".encode()))
        done.addCallback(lambda _: step(number + IN_FLIGHT))
        done.addErrback(lambda failure: os.write(1, f"failed {failure}\n".encode()))

    for number in range(first, first + IN_FLIGHT):
        step(number)


def main() -> None:
    signal.alarm(60)
    calls: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
    opening = Deferred.fromCoroutine(append(Path(sys.argv[1]), int(sys.argv[2]), lambda f, *a: calls.put((f, a))))
    opening.addErrback(lambda failure: os.write(1, f"failed {failure}\n".encode()))
    while True:
        function, arguments = calls.get()
        function(*arguments)


if __name__ == "__main__":
    main()
