"""
Measure the store when it is large: C{python -m benchmarks.store_scale}.

Builds a store of a million sessions with ten million entries, and one of ten sessions, and compares them in one run:
the time of a turn, of a start, of a list.  Prints one line of JSON for each part; with C{--check} a missed goal makes
it exit 1.  The full size takes some minutes and some gigabytes in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from benchmarks.stats import quantile
from openclaw.config.amounts import Size
from openclaw.config.session import MaintenanceConfig
from openclaw.ids import new_entry_id, new_run_id
from openclaw.messages import Message, Role
from openclaw.process.memory import settle_memory
from openclaw.records import Entry, RunRecord, SessionQuery
from openclaw.sessions.retention import Retention
from openclaw.store.sqlite import open_database
from openclaw.store.store import GatewayStore

GOAL_RATIO = 1.3
"""How much longer the median turn may take in the large store than in the small one."""

GOAL_START_S = 1.0
"""Within which a store of any size is open."""

GOAL_COMMIT_MS = 50.0
"""How long the 99th of a hundred commits may take while somebody reads a long session."""

FIRST_MS = 1_700_000_000_000
"""When the first session was written, milliseconds since 1970."""

ENTRIES_EACH = 10
LONG_ENTRIES = 10_000
WRITERS = 64
BLOCK_TURNS = 30
"""Turns in one store before it is the other one's turn, so that both meet the same noise."""

_SAID: tuple[tuple[Role, str], ...] = (
    ("user", "What is there to see in " * 4),
    ("assistant", "There is a lot to see, " * 8),
)
_PAYLOADS = [msgspec.json.encode(Message(role, text)) for role, text in _SAID]


def session_key(number: int) -> str:
    """The key of a session; their order is not that of the numbers."""
    return f"agent:main:openai-user:{number * 2_654_435_761 % (1 << 32):08x}-{number}"


def run_id_of(number: int) -> str:
    """The id of a run, as scattered as real ones."""
    return f"chatcmpl_{random.Random(number).getrandbits(128):032x}"


def build(path: Path, sessions: int) -> None:
    """Fill a store quickly, without a thought for a crash."""
    connection = open_database(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -2000000")
    per_step = 20_000
    for first in range(0, sessions, per_step):
        numbers = range(first, min(first + per_step, sessions))
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO sessions (id, key, agent_id, created_at_ms, updated_at_ms, entry_count, tip_seq, last_run_id) "
            "VALUES (?, ?, 'main', ?, ?, ?, ?, ?)",
            _sessions(numbers),
        )
        connection.executemany(
            "INSERT INTO entries (seq, session_id, id, parent_seq, run_id, role, payload, stop_reason, created_at_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            _entries(numbers),
        )
        connection.executemany(
            "INSERT INTO runs (run_id, agent_id, session_key, model_ref, status, started_at_ms, ended_at_ms, "
            "prompt_tokens, completion_tokens) VALUES (?, 'main', ?, 'p/m', 'done', ?, ?, 100, 20)",
            _runs(numbers),
        )
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def _sessions(numbers: range) -> Iterator[tuple[Any, ...]]:
    for number in numbers:
        last_seq = (number + 1) * ENTRIES_EACH
        at_ms = FIRST_MS + number * 1000
        yield number + 1, session_key(number), at_ms, at_ms, ENTRIES_EACH, last_seq, run_id_of(last_seq // 2)


def _entries(numbers: range) -> Iterator[tuple[Any, ...]]:
    for number in numbers:
        for place in range(ENTRIES_EACH):
            seq = number * ENTRIES_EACH + place + 1
            parent_seq = seq - 1 if place else None
            role, stop_reason = (("user", None), ("assistant", "stop"))[place % 2]
            run_id = run_id_of((seq + 1) // 2)
            yield (
                seq,
                number + 1,
                new_entry_id(),
                parent_seq,
                run_id,
                role,
                _PAYLOADS[place % 2],
                stop_reason,
                FIRST_MS + number * 1000 + place,
            )


def _runs(numbers: range) -> Iterator[tuple[Any, ...]]:
    for number in numbers:
        for place in range(ENTRIES_EACH // 2):
            at_ms = FIRST_MS + number * 1000 + place
            yield run_id_of(number * ENTRIES_EACH // 2 + place + 1), session_key(number), at_ms, at_ms + 1


class Bench:
    """
    One store under measurement.

    @ivar name: what it is called in the output.
    """

    def __init__(self, name: str, path: Path, sessions: int, chance: random.Random) -> None:
        self.name = name
        self.path = path
        self.sessions = sessions
        self._chance = chance
        self.turns_ms: list[float] = []
        self.reads_ms: list[float] = []
        self.store: GatewayStore

    async def open(self, reactor: Any) -> float:
        """Open it; gives the seconds that it took."""
        began_s = time.perf_counter()
        self.store = await GatewayStore.open(self.path, reactor.callFromThread)
        return time.perf_counter() - began_s

    async def renew(self, reactor: Any) -> None:
        """Begin with a new store, so that its sessions stay as short as those of the other one."""
        await self.store.close()
        self.path.unlink()
        build(self.path, self.sessions)
        await self.open(reactor)

    def warm(self) -> None:
        """Have the system read all of it, as it has that of a store in use where there is enough memory."""
        with self.path.open("rb") as file:
            while file.read(1 << 20):
                pass

    async def turn(self) -> None:
        """One turn of some session: its transcript, the user's message, the answer."""
        key = session_key(self._chance.randrange(self.sessions))
        began_s = time.perf_counter()
        transcript = await self.store.transcript(key)
        read_s = time.perf_counter()
        await self.append(key, transcript.tip_id)
        ended_s = time.perf_counter()
        self.reads_ms.append((read_s - began_s) * 1000)
        self.turns_ms.append((ended_s - began_s) * 1000)

    async def append(self, key: str, tip_id: str | None) -> None:
        """Begin a run and end it."""
        now_ms = int(time.time() * 1000)
        run = RunRecord(new_run_id(), "main", key, "p/m", "running", now_ms)
        sent = Entry(new_entry_id(), tip_id, run.run_id, Message("user", "And what else is there? " * 4), now_ms)
        await self.store.begin_run(run, (sent,))
        answer = Message("assistant", "There is more, and here it is. " * 8)
        ended = attrs.evolve(run, status="done", ended_at_ms=now_ms + 1)
        await self.store.end_run(ended, (Entry(new_entry_id(), sent.id, run.run_id, answer, now_ms, "stop"),))

    async def lists(self) -> dict[str, float]:
        """What lists take, as they are asked for by user interfaces."""
        took: dict[str, float] = {}
        for name, query in (
            ("first_page_ms", SessionQuery()),
            ("last_page_ms", SessionQuery(offset=max(0, self.sessions - 100))),
            ("search_ms", SessionQuery(search="ffff")),
            ("most_rows_ms", SessionQuery(limit=10_000)),
        ):
            times_ms = []
            for _ in range(5):
                began_s = time.perf_counter()
                await self.store.sessions(query)
                times_ms.append((time.perf_counter() - began_s) * 1000)
            took[name] = p(times_ms, 0.5)
        return took

    def figures(self) -> dict[str, float]:
        """What the turns took, which are then forgotten."""
        told = {
            "turn_p50_ms": p(self.turns_ms, 0.5),
            "turn_p99_ms": p(self.turns_ms, 0.99),
            "transcript_p50_ms": p(self.reads_ms, 0.5),
        }
        self.turns_ms, self.reads_ms = [], []
        return told


def p(values: Sequence[float], fraction: float) -> float:
    """A quantile of values of which there are some."""
    found = quantile(values, fraction)
    assert found is not None
    return round(found, 3)


class Lateness:
    """
    Measures how long the reactor is held, with a timer that ticks each millisecond.

    @ivar late_ms: how late each tick was.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._is_over = False
        self.late_ms: list[float] = []

    async def _tick(self) -> None:
        while not self._is_over:
            began_s = time.perf_counter()
            await deferLater(self._reactor, 0.001)
            self.late_ms.append((time.perf_counter() - began_s) * 1000 - 1)

    async def during(self, work: Any) -> Any:
        """Measure while something is done."""
        self._is_over = False
        ticking = Deferred.fromCoroutine(self._tick())
        try:
            return await work
        finally:
            self._is_over = True
            await ticking


async def compare_turns(reactor: Any, small: Bench, large: Bench, turns: int) -> None:
    """Turns in both stores, one after the other, in blocks."""
    for _ in range(max(1, turns // BLOCK_TURNS)):
        await small.renew(reactor)
        for bench in (small, large):
            for _ in range(BLOCK_TURNS):
                await bench.turn()


async def measure_retention(reactor: Any, bench: Bench) -> dict[str, float]:
    """Turns while one of fifty sessions is put away and these are then deleted, for half a minute at most."""
    most = max(1, bench.sessions - bench.sessions // 50)
    settings = MaintenanceConfig(max_entries=most, max_disk_bytes=Size(1 << 20))
    retention = Retention(bench.store, lambda: settings, reactor, frozenset, lambda key: None)
    sweeping = Deferred.fromCoroutine(retention.sweep())
    is_over: list[object] = []
    sweeping.addBoth(is_over.append)
    began_s = time.perf_counter()
    while not is_over and time.perf_counter() - began_s < 30:
        await bench.turn()
    sweeping.cancel()
    return bench.figures() | {"swept_s": round(time.perf_counter() - began_s, 1)}


async def write_side_by_side(bench: Bench, seconds: float) -> list[float]:
    """Commits of so many writers at once, each in a session of its own; gives what each took."""
    took_ms: list[float] = []
    until_s = time.perf_counter() + seconds

    async def write(number: int) -> None:
        key = f"agent:main:writer-{number}"
        while time.perf_counter() < until_s:
            began_s = time.perf_counter()
            branch = await bench.store.branch(key, 1)
            await bench.append(key, branch[-1].id if branch else None)
            # Two commits.
            took_ms.append((time.perf_counter() - began_s) * 500)

    await gatherResults([Deferred.fromCoroutine(write(number)) for number in range(WRITERS)], consumeErrors=True)
    return took_ms


async def measure_writers(reactor: Any, bench: Bench) -> dict[str, float]:
    """Commits alone, and beside somebody who reads a long session again and again."""
    key = await add_long_session(bench.store)
    alone_ms = await write_side_by_side(bench, 3)
    reads_ms: list[float] = []
    is_over = False

    async def read() -> None:
        while not is_over:
            began_s = time.perf_counter()
            transcript = await bench.store.transcript(key)
            assert len(transcript.entries) == LONG_ENTRIES
            reads_ms.append((time.perf_counter() - began_s) * 1000)
            await deferLater(reactor, 0.2)

    reading = Deferred.fromCoroutine(read())
    lateness = Lateness(reactor)
    beside_ms = await lateness.during(Deferred.fromCoroutine(write_side_by_side(bench, 3)))
    is_over = True
    await reading
    return {
        "commit_p50_ms": p(alone_ms, 0.5),
        "commit_p99_ms": p(alone_ms, 0.99),
        "beside_reader_p50_ms": p(beside_ms, 0.5),
        "beside_reader_p99_ms": p(beside_ms, 0.99),
        "long_read_p50_ms": p(reads_ms, 0.5),
        "reactor_late_p99_ms": p(lateness.late_ms, 0.99),
        "reactor_late_max_ms": p(lateness.late_ms, 1.0),
    }


async def add_long_session(store: GatewayStore) -> str:
    """Store a session of ten thousand entries; gives its key."""
    tip_id = None
    key = f"agent:main:long-{new_run_id()}"
    for number in range(0, LONG_ENTRIES, 500):
        entries = []
        run = RunRecord(new_run_id(), "main", key, "p/m", "done", FIRST_MS, FIRST_MS + 1)
        for place in range(500):
            message = Message("user" if place % 2 == 0 else "assistant", "Words of somebody. " * 10)
            entries.append(Entry(new_entry_id(), tip_id, run.run_id, message, FIRST_MS + number))
            tip_id = entries[-1].id
        await store.end_run(run, entries)
    return key


def tell(part: str, figures: dict[str, Any]) -> None:
    """One line of the output."""
    print(json.dumps({"part": part, **figures}), flush=True)


async def measure(reactor: Any, options: argparse.Namespace, folder: Path) -> bool:
    """
    Do it all.

    @return: whether the goals were met.
    """
    chance = random.Random(options.seed)
    benches = [Bench("small", folder / "small.sqlite", 10, chance)]
    benches.append(Bench("large", folder / "large.sqlite", options.sessions, chance))
    goals: list[bool] = []
    for bench in benches:
        began_s = time.perf_counter()
        if not bench.path.exists():
            build(bench.path, bench.sessions)
        built_s = time.perf_counter() - began_s
        start_s = await bench.open(reactor)
        goals.append(start_s <= GOAL_START_S)
        size: dict[str, Any] = {"sessions": bench.sessions, "entries": bench.sessions * ENTRIES_EACH}
        size |= {"mib": bench.path.stat().st_size >> 20, "built_s": round(built_s, 1)}
        tell(f"{bench.name}: start", size | {"start_s": round(start_s, 3)})
    small, large = benches
    await compare_turns(reactor, small, large, BLOCK_TURNS * 5)
    small.figures()
    tell("large: the first turns, from the disk", large.figures())
    large.warm()
    await compare_turns(reactor, small, large, options.turns)
    figures = [bench.figures() for bench in benches]
    ratio = round(figures[1]["turn_p50_ms"] / figures[0]["turn_p50_ms"], 3)
    goals.append(ratio <= GOAL_RATIO)
    for bench, told in zip(benches, figures, strict=True):
        tell(f"{bench.name}: turns", told)
    tell("large to small", {"turn_p50_ratio": ratio, "goal": GOAL_RATIO})
    for bench in benches:
        lateness = Lateness(reactor)
        told = await lateness.during(Deferred.fromCoroutine(bench.lists()))
        tell(f"{bench.name}: lists", told | {"reactor_late_max_ms": p(lateness.late_ms, 1.0)})
    tell("large: turns beside retention", await measure_retention(reactor, large))
    told = await measure_writers(reactor, large)
    goals.append(told["beside_reader_p99_ms"] <= GOAL_COMMIT_MS)
    tell(f"large: {WRITERS} writers and a reader", told)
    for bench in benches:
        await bench.store.close()
    return all(goals)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.store_scale", description=__doc__)
    made.add_argument("--sessions", type=int, default=1_000_000, help="sessions of the large store")
    made.add_argument("--turns", type=int, default=900, help="turns in each store")
    made.add_argument("--folder", type=Path, help="keep the stores there, and use those that are there already")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    return made


async def run(reactor: Any, options: argparse.Namespace) -> None:
    """Measure in a folder that is kept or not."""
    with contextlib.ExitStack() as stack:
        folder = options.folder
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="openclaw-store-"))
            stack.callback(shutil.rmtree, folder)
        folder.mkdir(parents=True, exist_ok=True)
        is_met = await measure(reactor, options, folder)
    if options.check and not is_met:
        raise SystemExit("a goal was missed")


if __name__ == "__main__":
    arguments = parser().parse_args()
    settle_memory()
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, arguments)))
