"""Tests of L{openclaw.cli.client.errors}."""

from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.client.errors import CallFailed, GatewayUnreachable


class ErrorTests(SynchronousTestCase):
    def test_envelope(self) -> None:
        self.assertEqual(
            CallFailed("no", code="X", details={"code": "Y"}).envelope(),
            {
                "ok": False,
                "error": {"type": "gateway_request_error", "message": "no", "code": "X", "details": {"code": "Y"}},
            },
        )
        self.assertEqual(
            GatewayUnreachable("no").envelope(),
            {"ok": False, "error": {"type": "gateway_transport_error", "message": "no"}},
        )
        self.assertEqual(CallFailed("no", details={"code": "Y"}).detail_code, "Y")
        self.assertEqual([CallFailed("no", details=one).detail_code for one in (None, 5, {}, {"code": 1})], [""] * 4)
