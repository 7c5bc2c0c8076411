"""Tests of L{openclaw.http.connection.request}."""

from __future__ import annotations

import gc
import weakref
from typing import Any
from unittest import mock

from openclaw.errors import ProviderFailed
from openclaw.events import TextDelta
from openclaw.http.gate import Gate
from test.http.support import GatewayTestCase


class ForgetTests(GatewayTestCase):
    """What a request had goes with its answer: it does not wait for the garbage collector."""

    def setUp(self) -> None:
        super().setUp()
        self.admissions: list[weakref.ref[Any]] = []
        real_admit = Gate.admit

        def admit(gate: Gate, *arguments: Any) -> Any:
            admission = real_admit(gate, *arguments)
            self.admissions.append(weakref.ref(admission))
            return admission

        patched = mock.patch.object(Gate, "admit", admit)
        patched.start()
        self.addCleanup(patched.stop)
        gc.disable()
        self.addCleanup(gc.enable)

    def assert_gone(self) -> None:
        self.assertEqual([None], [admission() for admission in self.admissions])

    def test_whole(self) -> None:
        self.provider.enqueue_text("hello")
        self.assertEqual(self.ask_chat().status, 200)
        self.assert_gone()

    def test_streamed(self) -> None:
        self.provider.enqueue_text("hello")
        self.assertEqual(self.ask_chat(stream=True).status, 200)
        self.assert_gone()

    def test_failed(self) -> None:
        """The traceback of the error would hold all frames, and they the error."""
        failures = [ProviderFailed("no")]
        failure = weakref.ref(failures[0])
        self.provider.enqueue([TextDelta("x")], failures.pop())
        self.assertEqual(self.ask_chat().status, 502)
        self.assert_gone()
        self.assertIsNone(failure())
