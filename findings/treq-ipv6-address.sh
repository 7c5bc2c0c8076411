#!/usr/bin/env bash
# treq 26.7.0 with hyperlink 21.0.0 and idna 3.11: no URL whose host is an IPv6 address can be requested.
#
# treq encodes every URL for the wire by hyperlink's to_uri(), which takes any host that is no IPv4 address for a
# name and gives it to idna.  The colons of an address are no letters of a name, so the request ends before anything
# is sent.  Twisted's own Agent, which gets the same URL as bytes, connects to the address.
#
# Seen:
#   treq: InvalidCodepoint
#   Agent: 200
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q treq==26.7.0 hyperlink==21.0.0 idna==3.11 Twisted==26.10.0
cat > "$work/ask.py" <<'PY'
import treq
from twisted.internet import task
from twisted.internet.defer import ensureDeferred
from twisted.web import resource, server
from twisted.web.client import Agent


async def main(reactor):
    root = resource.Resource()
    root.isLeaf = True
    root.render_GET = lambda request: b"here\n"
    port = reactor.listenTCP(0, server.Site(root), interface="::1")
    url = f"http://[::1]:{port.getHost().port}/"
    try:
        response = await treq.get(url, persistent=False, timeout=5)
        print("treq:", response.code)
    except Exception as error:
        print("treq:", type(error).__name__)
    response = await Agent(reactor).request(b"GET", url.encode())
    print("Agent:", response.code)


task.react(lambda reactor: ensureDeferred(main(reactor)))
PY
"$work/venv/bin/python" "$work/ask.py" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
treq: InvalidCodepoint
Agent: 200
SEEN
