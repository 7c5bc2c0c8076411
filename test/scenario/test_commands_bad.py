"""What commands say when something is wrong: one line that names the next step, and the right exit status."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from autobahn.websocket.protocol import WebSocketProtocol

from test.scenario.commands import CommandsTestCase, Done, until
from test.scenario.support import DEADLINE_S, OPENCLAW, TOKEN

ASKING = (
    ("agent", "-m", "hi"),
    ("status",),
    ("sessions",),
    ("gateway", "call", "status"),
    ("gateway", "health"),
)
"""Commands that need a gateway and say it in the same way."""

CERTIFICATE_COMMAND = (
    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
)  # fmt: skip


class Peer:
    """
    Something that listens on a port and is no gateway.

    @param serve: is given each connection, in a thread of its own.
    @ivar port: its TCP port.
    """

    def __init__(self, serve: Callable[[socket.socket], object]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._serve = serve
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(DEADLINE_S)
                self._connections.append(connection)
                threading.Thread(target=self._guarded, args=(connection,), daemon=True).start()

    def _guarded(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serve(connection)

    def close(self) -> None:
        """End it."""
        self._listener.close()
        for connection in self._connections:
            connection.close()


def say_nothing(connection: socket.socket) -> None:
    """Take everything, answer nothing."""
    while connection.recv(65536):
        pass


def close_at_once(connection: socket.socket) -> None:
    """Take the connection and leave."""
    connection.close()


def serve_pages(connection: socket.socket) -> None:
    """A web server that is no gateway."""
    while b"\r\n\r\n" not in connection.recv(65536):
        pass
    body = b"<html>hello</html>"
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    connection.close()


def refuse_at_once(connection: socket.socket) -> None:
    """A web server that is given what is no HTTP."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.close()


def speak_ssh(connection: socket.socket) -> None:
    """No HTTP at all."""
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
    say_nothing(connection)


def upgrade(connection: socket.socket) -> None:
    """The server's side of the opening handshake (RFC 6455, section 4.2.2)."""
    import base64
    import hashlib

    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    key = next(
        line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
    )
    # A constant of RFC 6455, which Autobahn has under a private name only.
    accept = base64.b64encode(hashlib.sha1(key + WebSocketProtocol._WS_MAGIC).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
    )


def send_frame(connection: socket.socket, frame: Any) -> None:
    """Send JSON as one text frame."""
    payload = json.dumps(frame).encode()
    size = bytes([len(payload)]) if len(payload) < 126 else bytes([126]) + len(payload).to_bytes(2, "big")
    connection.sendall(b"\x81" + size + payload)


def read_frame(connection: socket.socket) -> Any:
    """Read the JSON of one masked text frame."""

    def take(size: int) -> bytes:
        content = b""
        while len(content) < size:
            more = connection.recv(size - len(content))
            if not more:
                raise OSError("gone")
            content += more
        return content

    size = take(2)[1] & 0x7F
    if size >= 126:
        size = int.from_bytes(take(2 if size == 126 else 8), "big")
    mask = take(4)
    return json.loads(bytes(byte ^ mask[index % 4] for index, byte in enumerate(take(size))))


def newer_gateway(connection: socket.socket) -> None:
    """A gateway that speaks version 9 of the protocol only."""
    upgrade(connection)
    send_frame(connection, {"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}})
    asked = read_frame(connection)
    details = {"code": "PROTOCOL_MISMATCH", "expectedProtocol": 9}
    error = {"code": "INVALID_REQUEST", "message": "protocol mismatch", "details": details}
    send_frame(connection, {"type": "res", "id": asked["id"], "ok": False, "error": error})
    say_nothing(connection)


class UnreachableTests(CommandsTestCase):
    """Nobody there, or the wrong one."""

    def peer(self, serve: Callable[[socket.socket], object]) -> str:
        """Start something; give its address."""
        peer = Peer(serve)
        self.addCleanup(peer.close)
        return f"ws://127.0.0.1:{peer.port}"

    def assert_everywhere(self, url: str | None, *told: str, kind: str = "gateway_transport_error") -> None:
        """Each of the commands fails in the same way, with and without JSON."""
        given = ("--url", url, "--token", "x") if url else ()
        for command in ASKING:
            done = self.run_command(*command, *given, status=1)
            self.assertEqual(len(done.told), 1, done.err)
            for text in told:
                self.assertIn(text, done.err, command)
        for command in ASKING[1], ASKING[3]:
            done = self.run_command(*command, *given, "--json", status=1)
            self.assert_failed_json(done, kind, told[0])

    def test_not_running(self) -> None:
        self.write(self.document())
        self.assert_everywhere(None, f"ws://127.0.0.1:{self.port}", "connection refused", "openclaw gateway run")
        done = self.run_command("health", "--json", status=1)
        self.assert_failed_json(done, "gateway_transport_error", "openclaw gateway run")
        done = self.run_command("gateway", "probe", "--json", status=1)
        self.assertEqual((done.json["ok"], done.json["capability"]), (False, "unreachable"))
        self.assertIn("openclaw gateway run", done.err)
        done = self.run_command("gateway", "status")
        self.assertIn("RPC probe: failed", done.out)
        self.assertIn("openclaw gateway run", done.err)
        self.assertEqual(self.run_command("gateway", "status", "--require-rpc", status=1).told, done.told)
        self.assert_failed(self.run_command("chat", stdin=b"hi\n", status=1), "openclaw gateway run")
        self.assertIn("there is no log file", self.run_command("logs", status=1).err)

    def test_no_gateway_there(self) -> None:
        self.assert_everywhere(self.peer(serve_pages), "is no OpenClaw gateway", "check --url")
        done = self.run_command("health", "--url", self.peer(serve_pages), status=1)
        self.assert_failed(done, "what answers there is no gateway")

    def test_no_http_there(self) -> None:
        url = self.peer(speak_ssh)
        for command in ("status",), ("gateway", "call", "health"), ("sessions",):
            done = self.run_command(*command, "--url", url, "--timeout", "0.5", status=1)
            self.assertEqual(len(done.told), 1, done.err)
            self.assertIn("is this an OpenClaw gateway?", done.err)

    def test_leaves_at_once(self) -> None:
        self.assert_everywhere(self.peer(close_at_once), "is this an OpenClaw gateway?")

    def test_says_nothing(self) -> None:
        url = self.peer(say_nothing)
        for command in ("status",), ("gateway", "call", "health"), ("gateway", "probe"), ("health",), ("sessions",):
            done = self.run_command(*command, "--url", url, "--timeout", "0.3", status=1)
            self.assertEqual(len(done.told), 1, done.err)
            self.assertRegex(done.err, r"0\.3 s|timed out")

    def test_tls_there(self) -> None:
        self.home.joinpath("cert").mkdir()
        made = subprocess.run(
            (*CERTIFICATE_COMMAND, "-keyout", self.home / "cert/key", "-out", self.home / "cert/crt"),
            check=False,
            capture_output=True,
        )
        self.assertEqual(made.returncode, 0, made.stderr)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.home / "cert/crt", self.home / "cert/key")

        def serve_tls(connection: socket.socket) -> None:
            with contextlib.suppress(ssl.SSLError):
                serve_pages(context.wrap_socket(connection, server_side=True))
            connection.close()

        url = self.peer(serve_tls)
        self.assert_failed(self.run_command("status", "--url", url, "--token", "x", status=1), "wss://", whole=False)
        done = self.run_command("gateway", "call", "status", "--url", url.replace("ws:", "wss:"), status=1)
        self.assert_failed(done, "the certificate is not trusted")
        url = self.peer(refuse_at_once).replace("ws:", "wss:")
        self.assert_failed(self.run_command("sessions", "--url", url, status=1), "does not speak TLS")

    def assert_failed(self, done: Done, text: str, status: int = 1, *, whole: bool = True) -> None:
        if whole:
            super().assert_failed(done, text, status)
        else:
            self.assertEqual((done.status, len(done.told)), (status, 1), done.err)
            self.assertIn(text, done.err)

    def test_another_version(self) -> None:
        url = self.peer(newer_gateway)
        self.assert_everywhere(
            url, "speaks version 9 of the protocol", "update the older", kind="gateway_request_error"
        )
        done = self.run_command("gateway", "call", "status", "--url", url, "--json", status=1)
        self.assertEqual(done.json["error"]["details"]["code"], "PROTOCOL_MISMATCH")

    def test_wrong_token(self) -> None:
        self.serve()
        url = f"ws://127.0.0.1:{self.port}"
        for command in ASKING:
            done = self.run_command(*command, "--url", url, "--token", "WRONG", status=1)
            self.assertEqual(len(done.told), 1, done.err)
            self.assertIn("does not accept the token of --token; on the gateway's machine", done.err)
            self.assertNotIn("WRONG", done.err + done.out)
        error = self.assert_failed_json(
            self.run_command("gateway", "call", "health", "--token", "WRONG", "--json", status=1),
            "gateway_request_error",
            "openclaw gateway auth-token --show",
        )
        self.assertEqual(error["details"]["code"], "AUTH_TOKEN_MISMATCH")
        variables = {"OPENCLAW_STATE_DIR": str(self.home / "no"), "OPENCLAW_GATEWAY_URL": url}
        done = self.run_command("status", status=1, **variables)
        self.assertIn("wants a credential", done.err)
        done = self.run_command("status", status=1, OPENCLAW_GATEWAY_TOKEN="WRONG", **variables)
        self.assertIn("OPENCLAW_GATEWAY_TOKEN", done.err)


class RefusedTests(CommandsTestCase):
    """Requests that mean nothing."""

    def test_unknown_names(self) -> None:
        self.serve()
        for arguments, text in (
            (("--agent", "nope"), 'nknown agent id "nope"'),
            (("--session-key", "agent:nope:x"), "nope"),
            (("--session-id", "0123"), "sessionId"),
            (("--model", "nope/none"), "nope"),
        ):
            done = self.run_command("agent", "-m", "hi", *arguments, status=1)
            self.assert_failed(done, text)
            done = self.run_command("agent", "-m", "hi", *arguments, "--json", status=1)
            self.assert_failed_json(done, "gateway_request_error", text)
        self.assert_failed(self.run_command("models", "set", "nope", status=1), "nope")
        self.assert_failed(self.run_command("gateway", "call", "no.such", status=1), "unknown method: no.such")
        self.assertEqual(self.model_server.stats()["requests"], 0)

    def test_messages_that_cannot_be_sent(self) -> None:
        self.serve()
        done = self.run_command("agent", "-m", "-", stdin=b"\xff\xfe\x00\x01binary", status=1)
        self.assert_failed(done, "the message in standard input is not UTF-8")
        done = self.run_command("agent", "-m", "-", stdin=b"x" * (8 * 1024 * 1024 + 1), status=1)
        self.assert_failed(done, "standard input is larger than 8388608 bytes")
        done = self.run_command("agent", "--message-file", "nope", status=1)
        self.assert_failed(done, "nope cannot be read: No such file")
        done = self.run_command("agent", "-m", "-", "--json", stdin=b"\xff", status=1)
        self.assert_failed_json(done, "cli_error", "not UTF-8")
        for arguments in (("agent",), ("agent", "-m", " "), ("agent", "-m", "a", "--message-file", "b")):
            done = self.run_command(*arguments, status=2)
            self.assertIn("Error: ", done.err)
        self.assertEqual(self.model_server.stats()["requests"], 0)

    def test_options_that_mean_nothing(self) -> None:
        self.serve()
        for arguments in (
            ("agent", "-m", "hi", "--timeout", "0"),
            ("gateway", "call", "health", "--params", "[1]"),
            ("gateway", "call", "health", "--params", "{"),
            ("sessions", "--limit", "some"),
            ("status", "--token", "a", "--password", "b"),
            ("nope",),
            ("status", "--nope"),
        ):
            done = self.run_command(*arguments, status=2)
            self.assertEqual(done.out, "", arguments)
            self.assertIn("Error: ", done.err)
        for url in ("ftp://x", "ws://", "ws://u:p@127.0.0.1:1", "ws://127.0.0.1:99999", "no"):
            self.assert_failed(self.run_command("status", "--url", url, status=1), "--url: ")
        done = self.run_command("status", "--url", "ws://gateway.example.com", "--token", "secret", status=1)
        self.assert_failed(done, "use wss://")

    def test_the_largest_message(self) -> None:
        self.serve()
        largest = 8 * 1024 * 1024
        self.assertEqual(self.run_command("agent", "-m", "-", stdin=b"chunks=1".ljust(largest, b"x")).text, "w0.0")
        # as JSON each of these bytes takes six
        done = self.run_command("agent", "-m", "-", stdin=b"\x01" * largest, status=1)
        self.assert_failed(done, "takes 26,214,400 at most; send less")
        done = self.run_command("agent", "-m", "-", "--json", stdin=b"\x01" * largest, status=1)
        self.assert_failed_json(done, "cli_error", "agent: the request has 50,3")


class ConfigTests(CommandsTestCase):
    """A configuration that cannot be used, or not be written."""

    def assert_untouched(self, *commands: tuple[str, ...], text: str, status: int = 1, **environ: str) -> None:
        """The commands fail in one line and leave the file and its folder as they were."""
        before = self.config_path().read_bytes()
        names = sorted(path.name for path in self.state_dir.iterdir() if not path.name.endswith(".lock"))
        for command in commands:
            done = self.run_command(*command, status=None, **environ)
            self.assertEqual((done.status, done.out), (status, ""), (command, done.err))
            self.assertEqual(len(done.told), 1, done.err)
            self.assertIn(text, done.err)
            done = self.run_command(*command, "--json", status=1, **environ)
            self.assert_failed_json(done, "cli_error", text)
        self.assertEqual(self.config_path().read_bytes(), before)
        self.assertEqual(
            sorted(path.name for path in self.state_dir.iterdir() if not path.name.endswith(".lock")), names
        )

    EDITS = (
        ("config", "set", "gateway.bind", "loopback"),
        ("config", "unset", "gateway.port"),
        ("models", "set", "p/m"),
        ("agents", "add", "second", "--non-interactive"),
    )

    def test_broken_by_hand(self) -> None:
        self.write(self.document())
        self.config_path().write_text("{\n  gateway: {\n    port: 18789\n    bind: 'loopback'\n}")
        self.assert_untouched(*self.EDITS, text="line 4, column 5: not valid JSON5", status=78)
        for command in (("agent", "-m", "hi"), ("status",), ("sessions",), ("gateway", "call", "health"), ("health",)):
            done = self.run_command(*command, status=78)
            self.assert_failed(done, "cannot be used: line 4, column 5", status=78)
        done = self.run_command("config", "validate", "--json", status=1)
        self.assertEqual(done.json["valid"], False)
        self.assertEqual(len(done.json["issues"]), 1)
        report = self.run_command("doctor", "--json").json
        self.assertIn("error", [row["severity"] for row in report["findings"]])
        self.run_command("doctor", "--lint", status=1)
        self.assertIn("valid", self.run_command("gateway", "status", "--json").json["config"]["cli"])

    def test_wrong_values(self) -> None:
        self.write({"gateway": {"port": "x", "bind": "wan"}, "nope": 1})
        done = self.run_command("status", status=78)
        for name in ("gateway.port", "gateway.bind", "nope"):
            self.assertIn(name, done.err)
        done = self.run_command("config", "validate", "--json", status=1)
        self.assertEqual(len(done.json["issues"]), 3)

    def test_read_only(self) -> None:
        self.write(self.document())
        self.assert_untouched(*self.EDITS[:2], text="OPENCLAW_CONFIG_READONLY", OPENCLAW_CONFIG_READONLY="1")
        if os.geteuid() == 0:
            return  # nothing is read-only for root
        self.state_dir.chmod(0o500)
        self.addCleanup(self.state_dir.chmod, 0o700)
        self.assert_untouched(*self.EDITS[:2], text="cannot be written")

    def test_full_disk(self) -> None:
        document = self.document()
        document["agents"]["defaults"]["timeoutSeconds"] = 60
        text = "// " + "x" * 8192 + "\n" + json.dumps(document)
        self.write(document)
        self.config_path().write_text(text)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)

        def limited() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

        for as_json in False, True:
            command = ("config", "set", "agents.defaults.timeoutSeconds", "61", *(("--json",) if as_json else ()))
            completed = subprocess.run(
                (*OPENCLAW, *command),
                check=False,
                # an interpreter that may not write more than this leaves half a module in its cache
                env={**self.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DEADLINE_S,
                preexec_fn=limited,
            )
            done = Done(completed.returncode, completed.stdout.decode(), completed.stderr.decode())
            if as_json:
                self.assert_failed_json(done, "cli_error", "cannot be written")
            else:
                self.assert_failed(done, "cannot be written")
            self.assertEqual(self.config_path().read_text(), text)
            names = {path.name for path in self.state_dir.iterdir()}
            self.assertEqual({name for name in names if not name.endswith(".lock")}, {"openclaw.json"}, names)

    def test_no_credential_for_quickstart_of_others(self) -> None:
        self.write(self.document(token=None))
        done = self.run_command("status", status=1)
        self.assertIn("openclaw gateway run", done.err)


class ReaderTests(CommandsTestCase):
    """Whoever reads the output leaves, and signals."""

    def test_nobody_reads(self) -> None:
        self.serve()
        self.run_command("agent", "-m", "chunks=1")
        for command in (
            "status",
            "sessions",
            "gateway call health",
            "config schema",
            "logs",
            "doctor",
            "--help",
            "agents list",
        ):
            reader, writer = os.pipe()
            os.close(reader)
            done = subprocess.run(
                (*OPENCLAW, *command.split()),
                check=False,
                env=self.environ,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=subprocess.PIPE,
                timeout=DEADLINE_S,
            )
            os.close(writer)
            self.assertEqual(done.stderr.decode(), "", command)
            self.assertIn(done.returncode, (0, 1), command)

    def test_nobody_reads_the_answer_of_an_agent(self) -> None:
        self.serve()
        for arguments in (("--json",), ("--stream",), ()):
            reader, writer = os.pipe()
            os.close(reader)
            asking = self.start("agent", "-m", "chunks=3", *arguments, out=writer)
            os.close(writer)
            self.assertEqual((asking.wait(), asking.err), (1, ""))

    def test_signals(self) -> None:
        self.serve()
        following = self.start("logs", "--follow")
        following.wait_for("Log file")
        self.assertEqual(following.end(signal.SIGTERM), 143)
        self.assertEqual(following.err, "")

    def test_gateway_that_ends_meanwhile(self) -> None:
        gateway = self.serve()
        asking = self.start("agent", "--stream", "-m", "chunks=2000 delay=20")
        asking.wait_for(r"w5\.0 ")
        gateway.process.kill()
        self.assertEqual(asking.wait(), 1)
        self.assertEqual(len([line for line in asking.told if line]), 1, asking.err)
        self.assertIn("the connection to", asking.err)
        self.assertNotIn(TOKEN, asking.err)
        until(lambda: self.model_server.stats()["active"] == 0)
