"""Socket activation: the real process with a socket that somebody else has opened, as systemd does."""

import sys

from test.scenario.support import Client, GatewayTestCase, free_port

ENDPOINT = "systemd:domain=INET:index=0"

AS_SYSTEMD_DOES = """
import os, socket, sys
passed = socket.socket()
passed.bind(("127.0.0.1", int(sys.argv[1])))
passed.listen(16)
os.dup2(passed.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="openclaw-gateway.socket", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""The socket is descriptor 3, and the environment names the process that it is for."""


class SocketActivationTests(GatewayTestCase):
    def test_serves_a_passed_socket(self) -> None:
        self.write(self.document())
        port = free_port()
        gateway = self.start(
            *(str(port), sys.executable, "-P", "-m", "openclaw", "gateway", "run", "--endpoint", ENDPOINT),
            program=(sys.executable, "-P", "-c", AS_SYSTEMD_DOES),
        )
        gateway.wait_for("openclaw gateway listening at")
        status, answer = Client(port).chat("chunks=2")
        self.assertEqual((status, answer["choices"][0]["message"]["content"].split()), (200, ["w0.0", "w1.0"]))
        self.assertEqual(Client(port, "wrong").get("/v1/models")[0], 401)
        with self.assertRaises(ConnectionRefusedError):
            # The configured one is not opened.
            Client(self.port)
        self.assertEqual(gateway.end(), 0)

    def test_no_socket_was_passed(self) -> None:
        self.write(self.document())
        refused = self.start("gateway", "run", "--endpoint", ENDPOINT)
        self.assertNotEqual(refused.wait(), 0)
        self.assertIn("systemd passed no such socket", refused.err)
