#!/usr/bin/env bash
# Twisted 26.10.0: a second SIGTERM while twistd is stopping logs a critical traceback, though nothing is wrong.
#
# A service whose stopService() takes a moment keeps the reactor stopping.  Whoever ends such a process often sends the
# signal more than once: `timeout` sends one to the process and one to its group, and so do some supervisors.  The
# second one calls reactor.stop() again, which raises ReactorNotRunning; the stop itself goes on as it should.
#
# Seen:
#   exit status as of SIGTERM: True
#   the service was stopped: True
#   ReactorNotRunning in the log: True
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q Twisted==26.10.0
cat > "$work/slow.tac" <<'PY'
from twisted.application import service
from twisted.internet import reactor, task


class Slow(service.Service):
    def startService(self):
        super().startService()
        reactor.callLater(0, print, "RUNNING", flush=True)

    def stopService(self):
        super().stopService()
        print("STOPPING", flush=True)
        return task.deferLater(reactor, 1.0, print, "STOPPED", flush=True)


application = service.Application("slow")
Slow().setServiceParent(application)
PY
cat > "$work/run.py" <<'PY'
import signal
import subprocess
import sys

work = sys.argv[1]
child = subprocess.Popen(
    [f"{work}/venv/bin/twistd", "-n", "--pidfile=", "-y", f"{work}/slow.tac"],
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=work,
)
seen = []
for line in child.stdout:
    seen.append(line)
    if "RUNNING" in line or "STOPPING" in line:
        child.send_signal(signal.SIGTERM)
status = child.wait()
text = "".join(seen)
print("exit status as of SIGTERM:", status == -signal.SIGTERM)
print("the service was stopped:", "STOPPED" in text)
print("ReactorNotRunning in the log:", "ReactorNotRunning" in text)
PY
python3 "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
exit status as of SIGTERM: True
the service was stopped: True
ReactorNotRunning in the log: True
SEEN
