"""Tests of L{openclaw.cli.talk.chat_session}."""

from __future__ import annotations

from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from openclaw.cli.talk.chat_session import ChatSession
from openclaw.cli.talk.turn_request import TurnOptions


class ConversationTests(TestCase):
    def test_nothing_to_abort_or_close(self) -> None:
        conversation = ChatSession(None, mock.Mock(), TurnOptions(None, None, None, 1))
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(conversation.abort())))
        self.successResultOf(Deferred.fromCoroutine(conversation.close()))
