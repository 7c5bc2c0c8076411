"""The question to a model server."""

import email.message
import io
import os
import urllib.error
import urllib.request
import urllib.response
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.setup.provider_probe import probe

URL = "http://127.0.0.1:1/v1"


class ProbeTests(SynchronousTestCase):
    def asked(self, answer: Any, api_key: str | None = "k3y") -> str | None:
        with mock.patch.object(urllib.request.OpenerDirector, "open", autospec=True, side_effect=[answer]) as opened:
            told = probe(f"{URL}/", api_key)
        (_, request), named = opened.call_args
        self.assertEqual(request.full_url, f"{URL}/models")
        self.assertEqual(named["timeout"], 5.0)
        self.assertEqual(request.unredirected_hdrs.get("Authorization"), api_key and f"Bearer {api_key}")
        self.assertNotIn("k3y", told or "")
        return told

    def status(self, code: int) -> urllib.error.HTTPError:
        return urllib.error.HTTPError(URL, code, "no", email.message.Message(), io.BytesIO())

    def test_answers(self) -> None:
        self.assertIsNone(self.asked(mock.MagicMock()))
        self.assertIsNone(self.asked(mock.MagicMock(), None))

    def test_statuses(self) -> None:
        for code, key, expected in (
            (401, "k3y", "refuses the API key (HTTP 401)"),
            (403, None, "wants an API key (HTTP 403)"),
            (404, None, "does the URL end in /v1?"),
            (302, None, "answers HTTP 302"),
        ):
            self.assertIn(expected, self.asked(self.status(code), key) or "")

    def test_no_answer(self) -> None:
        refused = urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))
        self.assertEqual(self.asked(refused), f"{URL}/models does not answer (Connection refused)")
        self.assertIn("(timed out)", self.asked(TimeoutError("timed out")) or "")
        self.assertIn("(TimeoutError)", self.asked(TimeoutError()) or "")

    def test_proxy(self) -> None:
        """By the proxy that the gateway uses; one that cannot be used is told, without its password."""
        seen: list[str] = []

        def http_open(_: Any, request: urllib.request.Request) -> Any:
            seen.append(f"{request.host} {request.get_header('Proxy-authorization')}")
            raise ConnectionRefusedError(111, "refused")

        with mock.patch.object(urllib.request.HTTPHandler, "http_open", http_open):
            for value in ("http://me:s3cret@proxy.example:1", "socks5://me:s3cret@p"):
                with mock.patch.dict(os.environ, {"http_proxy": value, "no_proxy": ""}):
                    self.assertNotIn("s3cret", probe("http://model.example/v1", None) or "s3cret")
        self.assertEqual(seen, ["proxy.example:1 Basic bWU6czNjcmV0"])

    def test_no_redirect(self) -> None:
        """A redirect would take the key to another host."""
        asked: list[str] = []

        def http_open(_: Any, request: urllib.request.Request) -> Any:
            asked.append(request.full_url)
            headers = email.message.Message()
            headers["Location"] = "http://other/"
            response: Any = urllib.response.addinfourl(io.BytesIO(), headers, request.full_url, 302)
            response.msg = "Found"
            return response

        with mock.patch.object(urllib.request.HTTPHandler, "http_open", http_open):
            self.assertIn("answers HTTP 302", probe(URL, "k3y") or "")
        self.assertEqual(asked, [f"{URL}/models"])
