#!/usr/bin/env bash
# Twisted 26.10.0 takes no socket from a service manager that passes them without names.
#
# sd_listen_fds(3) passes LISTEN_FDS and LISTEN_PID; LISTEN_FDNAMES is there only where a name was given, as it is not
# by systemd-socket-activate without --fdname.  Twisted's ListenFDs then has no descriptor at all, so an endpoint
# systemd:index=0 says that there is no such socket, though descriptor 3 is one that listens.
#
# Seen:
#   with LISTEN_FDNAMES: [3]
#   without: []
#   systemd:index=0 without: IndexError
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q Twisted==26.10.0
cat > "$work/take.py" <<'PY'
import os
import sys

from twisted.python.systemd import ListenFDs

environ = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
named = environ | {"LISTEN_FDNAMES": "web"}
print("with LISTEN_FDNAMES:", ListenFDs.fromEnvironment(dict(named)).inheritedDescriptors())
print("without:", ListenFDs.fromEnvironment(dict(environ)).inheritedDescriptors())

os.environ.update(environ)
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

try:
    serverFromString(reactor, "systemd:domain=INET:index=0")
    print("systemd:index=0 without: taken")
except Exception as error:
    print("systemd:index=0 without:", type(error).__name__)
PY
"$work/venv/bin/python" "$work/take.py" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
with LISTEN_FDNAMES: [3]
without: []
systemd:index=0 without: IndexError
SEEN
