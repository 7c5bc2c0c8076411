"""Random requests, departures, failures and delays of the store against L{openclaw.sharing.joins}."""

from __future__ import annotations

import random

from openclaw.errors import ProviderFailed, ProviderRejected
from openclaw.events import ProviderFinished, TextDelta
from openclaw.sharing.lingering import LINGER_S
from openclaw.sharing.shared import ALONE_S, Claim
from test.sharing.test_joins import Ask, JoinsTestCase

CALLS = ("claim_key", "finish_key", "free_key", "find_turn", "begin_run", "end_run")


class RandomTests(JoinsTestCase):
    """
    At any time one run for a key at most; whoever is answered is answered with the whole text of one run; nobody
    waits for ever.
    """

    def setUp(self) -> None:
        super().setUp()
        self.asks: list[tuple[Claim, Ask]] = []
        self.left: set[Ask] = set()
        self.fed: set[int] = set()

    def live_streams(self) -> list[int]:
        return [
            number
            for number, stream in enumerate(self.provider.streams)
            if not stream.closed and not stream.aborted and number not in self.fed
        ]

    def step(self, dice: random.Random) -> None:
        choice = dice.random()
        if choice < 0.3:
            number = dice.randrange(3)
            fingerprint = bytes([number]) * 32
            kind = dice.choice(("key", "first", "retry", "call"))
            if kind == "call":
                claim = Claim(b"", f"k{number}", lasts="forever", surface="ws")
            else:
                key = f"k{number}" if kind == "key" else None
                claim = Claim(fingerprint, key, kind == "retry", "alone" if key else "client")
            paused, streamed = dice.random() < 0.1, kind != "call"
            session = f"agent:main:{number}"
            delivered = {ask.run_id for _, ask in self.asks if ask.is_complete}
            ask = self.ask(claim, f"text {number}", key=session, paused=paused, streamed=streamed)
            self.asks.append((claim, ask))
            if kind == "retry" and ask.reader is not None:
                self.assertNotIn(ask.run_id, delivered)
        elif choice < 0.4 and self.asks:
            _, ask = dice.choice(self.asks)
            ask.by_timeout = dice.random() < 0.5
            ask.leave()
            self.left.add(ask)
        elif choice < 0.5:
            self.store.holds = set(dice.sample(CALLS, dice.randrange(3)))
        elif choice < 0.6:
            while self.store.held:
                self.store.release()
        elif choice < 0.62:
            self.clock.advance(dice.choice((1, LINGER_S, ALONE_S)))
        else:
            self.feed(dice)
        self.tick()
        for claim, ask in self.asks:
            if ask.over and ask.failed is None and ask not in self.left and claim.key is None:
                ask.is_complete = ask.is_complete or dice.random() < 0.1
        self.check()

    def feed(self, dice: random.Random) -> None:
        """Let one of the model's calls say something, end or fail."""
        numbers = self.live_streams()
        if not numbers:
            return
        number = dice.choice(numbers)
        stream = self.provider.streams[number]
        choice = dice.random()
        if choice < 0.6:
            stream.push(TextDelta(f"[{number}]"))
            return
        self.fed.add(number)
        if choice < 0.85:
            stream.push(TextDelta(f"<{number}>"), ProviderFinished("stop"))
            stream.end()
        elif choice < 0.93:
            stream.push(TextDelta("x"))
            stream.fail(ProviderFailed("gone"))
        else:
            stream.fail(ProviderRejected("400 no", status=400))

    def check(self) -> None:
        live = self.joins.live_keys
        self.assertEqual(len(live), len(set(live)))

    def finish_all(self) -> None:
        self.store.holds.clear()
        for _ in range(200):
            while self.store.held:
                self.store.release()
            for number in self.live_streams():
                self.fed.add(number)
                self.provider.streams[number].push(TextDelta(f"<{number}>"), ProviderFinished("stop"))
                self.provider.streams[number].end()
            for _, ask in self.asks:
                if ask.paused and not ask.over:
                    ask.leave()
                    self.left.add(ask)
            self.clock.advance(2)
            self.tick()

    def check_answers(self) -> None:
        answers: dict[str, str] = {}
        for _, ask in self.asks:
            self.assertTrue(ask.over, "a request waits for ever")
            if ask in self.left or ask.failed is not None:
                continue
            # All of one run's readers have been told the same, from its beginning to its end.
            self.assertEqual(answers.setdefault(ask.run_id, ask.text), ask.text)
            said, _, end = ask.text.partition("<")
            number = end.rstrip(">")
            self.assertEqual(said, f"[{number}]" * (len(said) // (len(number) + 2)))

    def test_random(self) -> None:
        answered = runs = 0
        for seed in range(40):
            self.setUp()
            dice = random.Random(seed)
            for _ in range(60):
                self.step(dice)
            self.finish_all()
            self.check_answers()
            self.assert_idle()
            told = [ask for _, ask in self.asks if ask not in self.left and ask.failed is None]
            answered += len(told)
            runs += len({ask.run_id for ask in told})
        # Many requests were answered, and a good part of them by the run of another one.
        self.assertGreater(runs, 100)
        self.assertGreater(answered, runs * 1.2)
