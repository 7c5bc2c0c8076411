"""Tests of L{openclaw.cli.gateway.unit_file}."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from openclaw.cli.gateway.unit_file import (
    Program,
    Unit,
    UnitOptions,
    named_profile,
    passed_endpoint,
    port_of,
    program_of,
    quoted,
    unit_name,
    user_of,
)
from openclaw.errors import StartError


def unit(**changes: Any) -> Unit:
    """A unit of a user; what is changed is the unit's or its program's."""
    program: dict[str, Any] = {
        "python": "/venv/bin/python",
        "arguments": ("gateway", "run"),
        "environ": {"OPENCLAW_STATE_DIR": "/home/u/.openclaw"},
        "state_dir": Path("/home/u/.openclaw"),
    }
    program |= {name: changes.pop(name) for name in program.keys() & changes.keys()}
    fields: dict[str, Any] = {"name": "openclaw-gateway", "profile": "", "drain_s": 25.0}
    return Unit(program=Program(**program), **{**fields, **changes})


class NameTests(SynchronousTestCase):
    def test_profiles(self) -> None:
        for profile, environ, name in (
            (None, {}, ""),
            (None, {"OPENCLAW_PROFILE": " work "}, "work"),
            ("x", {"OPENCLAW_PROFILE": "work"}, "x"),
            ("Default", {"OPENCLAW_PROFILE": "work"}, ""),
        ):
            self.assertEqual(named_profile(profile, environ), name)

    def test_program(self) -> None:
        """It is read back as it was written, whatever is in its name."""
        for program in ("/venv/bin/python", "/my home/100% $x/py", '/a"b\\c/py', "/é/py"):
            self.assertEqual(program_of(unit(python=program).service_text()), program)
        for text in ("", "[Service]\n", "ExecStart=\n", 'ExecStart="x\n'):
            self.assertEqual(program_of(text), "")

    def test_systemd_is_told(self) -> None:
        """The gateway says when it serves and that it is alive; that it is killed leaves no core dump with secrets."""
        for made in (unit(), unit(user="daemon")):
            lines = made.service_text().splitlines()
            for line in ("Type=notify", "WatchdogSec=60", "WatchdogSignal=SIGKILL"):
                self.assertIn(line, lines)

    def test_what_a_unit_was_installed_with(self) -> None:
        self.assertEqual((port_of(unit().service_text(), None), user_of(unit().service_text())), (None, None))
        made = unit(user="claw", arguments=("gateway", "run", "--port", "19000"))
        self.assertEqual((port_of(made.service_text(), None), user_of(made.service_text())), (19000, "claw"))
        for listen in ("127.0.0.1:19000", "[::1]:19000"):
            made = unit(listen=listen)
            self.assertEqual(port_of(made.service_text(), made.socket_text()), 19000)
        for text, socket_text in (
            ("ExecStart=x --port", None),
            ("ExecStart=x --port y", None),
            ("", "ListenStream=/x"),
        ):
            self.assertIsNone(port_of(text, socket_text))

    def test_install_command(self) -> None:
        self.assertEqual(UnitOptions().command(), "openclaw gateway install --force")
        self.assertEqual(
            UnitOptions(system=True, port=1, socket=True, run_as="a b").command(),
            "openclaw gateway install --system --port 1 --socket --run-as 'a b' --force",
        )

    def test_folders_that_no_unit_can_name(self) -> None:
        for folder in ("/a/b\\", "/a/b ", "/a\nb", "/a/\udcff"):
            with self.assertRaisesRegex(StartError, "a unit cannot name it"):
                unit(state_dir=Path(folder), environ={}).service_text()


class TextTests(SynchronousTestCase):
    def assert_lines(self, text: str, *lines: str) -> None:
        for line in lines:
            self.assertIn(f"\n{line}\n", text)
        self.assertNotIn("${", text)

    def test_user_unit(self) -> None:
        text = unit().service_text()
        self.assert_lines(
            text,
            "ExecStart=/venv/bin/python -P -m openclaw gateway run",
            "WorkingDirectory=/home/u/.openclaw",
            "Environment=OPENCLAW_STATE_DIR=/home/u/.openclaw",
            "Restart=on-failure",
            "SuccessExitStatus=143",
            "RestartPreventExitStatus=78",
            "TimeoutStopSec=65",
            "KillMode=mixed",
            "LimitNOFILE=65536",
            "NoNewPrivileges=yes",
            "WantedBy=default.target",
        )
        for absent in ("User=", "ProtectSystem", "CapabilityBoundingSet", "network-online", ".socket"):
            self.assertNotIn(absent, text)

    def test_system_unit(self) -> None:
        text = unit(user="claw").service_text()
        self.assert_lines(
            text,
            "User=claw",
            "After=network-online.target",
            "ProtectSystem=strict",
            "ReadWritePaths=/home/u/.openclaw",
            "PrivateTmp=yes",
            "CapabilityBoundingSet=",
            "WantedBy=multi-user.target",
        )

    def test_socket(self) -> None:
        made = unit(listen="127.0.0.1:18789", profile="p", name="openclaw-gateway-p")
        self.assert_lines(
            made.service_text(),
            "Description=OpenClaw Gateway (p)",
            "Requires=openclaw-gateway-p.socket",
            "Also=openclaw-gateway-p.socket",
        )
        self.assert_lines(
            made.socket_text(),
            "ListenStream=127.0.0.1:18789",
            "Service=openclaw-gateway-p.service",
            "WantedBy=sockets.target",
        )

    def test_quoting(self) -> None:
        for word, text in (
            ("/a/b.c-d=e,f", "/a/b.c-d=e,f"),
            ("a b", '"a b"'),
            ('a"b\\c', '"a\\"b\\\\c"'),
            ("100%", '"100%%"'),
            ("", '""'),
        ):
            self.assertEqual(quoted(word), text)
        self.assertEqual(quoted("$x"), '"$x"')
        self.assertEqual(quoted("$x", is_command=True), '"$$x"')

    def test_what_no_unit_can_hold(self) -> None:
        self.assertRaises(StartError, quoted, "a\nExecStartPre=/bin/evil")
        self.assertRaises(StartError, unit(state_dir=Path("/a\nb")).service_text)

    def test_names(self) -> None:
        self.assertEqual(unit_name(""), "openclaw-gateway")
        self.assertEqual(unit_name("a"), "openclaw-gateway-a")
        self.assertEqual(passed_endpoint("127.0.0.1"), "systemd:domain=INET:index=0")
        self.assertEqual(passed_endpoint("::1"), "systemd:domain=INET6:index=0")


class VerifyTests(SynchronousTestCase):
    """What systemd itself says of the units."""

    def verify(self, made: Unit) -> None:
        program = shutil.which("systemd-analyze")
        if program is None:
            raise SkipTest("systemd-analyze is not installed: the units are not verified here")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        paths = [folder / f"{made.name}.service"]
        paths[0].write_text(made.service_text())
        if made.listen is not None:
            paths.append(folder / f"{made.name}.socket")
            paths[1].write_text(made.socket_text())
        environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
        done = subprocess.run(
            [program, "verify", *([] if made.system else ["--user"]), *map(str, paths)],
            env=environ,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        # It loads other units of the machine too, which are not our concern.
        ours = [line for line in done.stderr.splitlines() if made.name in line]
        self.assertEqual((done.returncode, ours), (0, []), done.stderr)

    def test_units(self) -> None:
        for system in (False, True):
            for listen in (None, "127.0.0.1:18789", "[::1]:18789"):
                self.verify(unit(user="daemon" if system else None, python=sys.executable, listen=listen))

    def test_odd_names(self) -> None:
        folder = Path('/tmp/a b/100%"$x')
        odd = unit(
            user="daemon",
            python=sys.executable,
            state_dir=folder,
            environ={"OPENCLAW_STATE_DIR": str(folder)},
            arguments=("gateway", "run", "--config", str(folder)),
        )
        self.verify(odd)
