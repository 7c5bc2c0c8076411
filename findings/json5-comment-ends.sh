#!/usr/bin/env bash
# json-five 1.1.2 and pyjson5 2.0.1 read different values from the same valid JSON5.
#
# JSON5 ends a line comment at any of ECMAScript's line terminators: LF, CR, U+2028 and U+2029.  json-five ends it at LF
# only, so what follows a lone CR on the next line of the file is a part of the comment to it, and is lost without a
# word.  The two also differ in blanks (JSON5 has all of category Zs) and in numbers that overflow, which pyjson5 calls
# an unclosed literal.
#
# Seen:
#   comment ended by LF: pyjson5 [1, 2], json-five [1, 2]
#   comment ended by CR: pyjson5 [1, 2], json-five [1]
#   comment ended by U+2028: pyjson5 [1, 2], json-five [1]
#   comment ended by U+2029: pyjson5 [1, 2], json-five [1]
#   blank U+2003: pyjson5 [1], json-five JSON5DecodeError
#   number 1e999: pyjson5 Json5EOF, json-five [inf]
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q json-five==1.1.2 pyjson5==2.0.1
cat > "$work/read.py" <<'PY'
import json5
import pyjson5


def told(read, text):
    try:
        return read(text)
    except Exception as error:
        return type(error).__name__


for name, text in (
    ("comment ended by LF", "[1, // one\n2\n]"),
    ("comment ended by CR", "[1, // one\r2\n]"),
    ("comment ended by U+2028", "[1, // one\u20282\n]"),
    ("comment ended by U+2029", "[1, // one\u20292\n]"),
    ("blank U+2003", "[\u20031]"),
    ("number 1e999", "[1e999]"),
):
    print(f"{name}: pyjson5 {told(pyjson5.decode, text)}, json-five {told(json5.loads, text)}")
PY
"$work/venv/bin/python" "$work/read.py" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
comment ended by LF: pyjson5 [1, 2], json-five [1, 2]
comment ended by CR: pyjson5 [1, 2], json-five [1]
comment ended by U+2028: pyjson5 [1, 2], json-five [1]
comment ended by U+2029: pyjson5 [1, 2], json-five [1]
blank U+2003: pyjson5 [1], json-five JSON5DecodeError
number 1e999: pyjson5 Json5EOF, json-five [inf]
SEEN
