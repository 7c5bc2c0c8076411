#!/usr/bin/env bash
# Twisted 26.10.0: its HTTP client takes a chunk extension only if no blank stands before it, and no blank behind a size.
#
# RFC 9112, section 7.1.1, has "bad whitespace" around the semicolon of an extension, which a recipient must parse,
# and some old servers pad the size with blanks to a fixed width.  Such an answer ends in the middle, although every
# byte of it is there; the same with the extension right behind the size is read.
#
# Seen:
#   '5;a=b': hello
#   '5 ;a=b': ResponseFailed
#   '5   ': ResponseFailed
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q Twisted==26.10.0
cat > "$work/ask.py" <<'PY'
from twisted.internet import protocol, task
from twisted.internet.defer import ensureDeferred
from twisted.web.client import Agent, readBody

SIZES = ("5;a=b", "5 ;a=b", "5   ")


class Server(protocol.Protocol):
    def dataReceived(self, data):
        size = SIZES[int(data.split(b" ")[1][1:])].encode()
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head + size + b"\r\nhello\r\n0\r\n\r\n")


async def main(reactor):
    port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
    agent = Agent(reactor)
    for number, size in enumerate(SIZES):
        url = f"http://127.0.0.1:{port.getHost().port}/{number}".encode()
        try:
            body = await readBody(await agent.request(b"GET", url))
            print(f"{size!r}:", body.decode())
        except Exception as error:
            print(f"{size!r}:", type(error).__name__)


task.react(lambda reactor: ensureDeferred(main(reactor)))
PY
"$work/venv/bin/python" "$work/ask.py" 2> /dev/null | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
'5;a=b': hello
'5 ;a=b': ResponseFailed
'5   ': ResponseFailed
SEEN
