"""Tests of L{openclaw.cli.models.pull}."""

import io

from twisted.trial.unittest import TestCase

from openclaw.cli.models.pull import progress_printer


class ProgressTests(TestCase):
    def shown(self, terminal: bool, *steps: tuple[float, int, int | None]) -> str:
        stream = io.StringIO()
        stream.isatty = lambda: terminal  # type: ignore[method-assign]
        now_s = 0.0
        show = progress_printer(stream, lambda: now_s)
        for at_s, done, total in steps:
            now_s = at_s
            show(done, total)
        return stream.getvalue()

    def test_bar(self) -> None:
        text = self.shown(
            True, (0, 0, 2_000_000), (0.05, 1, 2_000_000), (0.2, 1_000_000, 2_000_000), (0.21, 2_000_000, 2_000_000)
        )
        bars = text.split("\r")[1:]
        self.assertEqual(len(bars), 3)
        self.assertEqual(bars[0], f"[{' ' * 30}] 0.0 / 2.0 MB")
        self.assertEqual(bars[1], f"[{'#' * 15}{' ' * 15}] 1.0 / 2.0 MB")
        self.assertEqual(bars[2], f"[{'#' * 30}] 2.0 / 2.0 MB\n")

    def test_lines_elsewhere(self) -> None:
        text = self.shown(
            False, (0, 0, 2_000_000), (4.9, 1, 2_000_000), (5.1, 1_000_000, 2_000_000), (5.2, 2_000_000, 2_000_000)
        )
        self.assertEqual(text, "  0.0 / 2.0 MB\n  1.0 / 2.0 MB\n  2.0 / 2.0 MB\n")

    def test_unknown_total(self) -> None:
        self.assertEqual(self.shown(False, (0, 1_500_000, None)), "  1.5 MB\n")
        self.assertEqual(self.shown(True, (0, 1_500_000, None)), f"\r[{' ' * 30}] 1.5 MB")

    def test_never_more_than_all(self) -> None:
        self.assertIn("#" * 30 + "]", self.shown(True, (0, 3, 2)))
        self.assertNotIn("#" * 31, self.shown(True, (0, 3, 2)))
