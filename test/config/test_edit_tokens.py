"""Where reader and editor of a configuration differ: what is refused, and random files against both."""

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyjson5
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config import edit_tokens
from openclaw.config.edit_document import with_value, without_value
from openclaw.config.edit_text import rewritten
from openclaw.config.edit_tokens import Token, alike, tokens_of
from openclaw.config.environment import MAX_DEPTH
from openclaw.errors import OpenClawError

REFUSED = [
    ("{a: [1, // x\r 2]}", "line 1, column 13: a comment ends here by a lone carriage return"),
    ("{a: 1, // x\r\r\nb: 2}", "line 1, column 12: a comment ends here by a lone carriage return"),
    ("{\n  a: 1, // x\u2028b: 2}", "line 2, column 13: a comment ends here by the character U\\+2028"),
    ("{a: 1 // x\u2029}", "line 1, column 11: a comment ends here by the character U\\+2029"),
    ("{a: 1} // x\r", "line 1, column 12: a comment ends here by a lone carriage return"),
    ("{\n\u2003a: 1}", "line 2, column 1: a blank U\\+2003 stands here"),
    ("{a: 1\u3000}", "line 1, column 6: a blank U\\+3000 stands here"),
    ("{a\u3000: 1}", "line 1, column 3: a blank U\\+3000 stands here"),
]
"""Valid files, and what is said of them."""

ACCEPTED = [
    "{a: 1, // x\r\n b: 2}",
    "{\r  a: 1,\r}",
    "{a: 1, /* x\r\u2028 */ b: 2}",
    "{a: '\u2028', b: \"\\\r\n\"}",
    "{a\u2028: 1,\u2029 b: 2}",
    "{a: '// x\\r\u2028'}",
    "{true: 1, e5: 2, Infinity: 3, \\u0061b: 4, \u4e2d\u200c: 5}",
    "{a: '\\ud83d\\ude00', b: '\U0001f600'}",
    "{a: -.5e+3, b: +0x1F, c: -Infinity, d: 1.}",
]
"""Files that both see alike."""


class RefusedTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """What the two see in different ways is refused with its place before the library sees it."""
        for text, said in REFUSED:
            pyjson5.decode(text)
            expected = self.assertRaisesRegex(OpenClawError, f"^this file cannot be edited: {said}.*by hand$")
            with mock.patch.object(edit_tokens, "_library_tokens") as library, expected:
                rewritten(text, {"new": 1})
            library.assert_not_called()

    def test_accepted(self) -> None:
        for text in ACCEPTED:
            document = {**pyjson5.decode(text), "new": [1]}
            self.assertEqual(pyjson5.decode(rewritten(text, document)), document, text)

    def test_tokens(self) -> None:
        """A number is one token, however many the library makes of it."""
        text = "{a: -1e5} // x\r\n"
        kinds = [(token.kind, text[token.start : token.end]) for token in tokens_of(text)]
        self.assertEqual(
            kinds,
            [("{", "{"), ("word", "a"), (":", ":"), ("word", "-1e5"), ("}", "}"), ("comment", "// x\r")],
        )

    def test_library_says_something_else(self) -> None:
        """Tokens that differ are refused, whatever the difference is."""
        text = "{a: [1]}"
        right = alike(text)
        wrongs = [
            [],
            right[:-1],
            right[1:],
            [*right, Token("}", 8, 9)],
            [*right[:4], Token("word", 5, 8)],
            [*right[:4], Token("word", 5, 5)],
            [Token("[", 0, 1), *right[1:]],
            [Token("string", token.start, token.end) for token in right],
        ]
        for tokens in wrongs:
            expected = self.assertRaisesRegex(OpenClawError, r"line 1, column \d: what reads")
            with mock.patch.object(edit_tokens, "_library_tokens", return_value=iter(tokens)), expected:
                tokens_of(text)

    def test_no_json5(self) -> None:
        """Nothing else than JSON5 gets anywhere either; each ends at once."""
        for text in ("{a:", "[1 2]", "{a: ]}", "{a 1}", "{{}: 1}", "}", "{a: 1}}", "[,]", "{a: 01}", "/", "'x", ""):
            with self.assertRaises(OpenClawError):
                rewritten(text, {"a": 2})
            expected = self.assertRaisesRegex(OpenClawError, r"line 1, column \d")
            with mock.patch("openclaw.config.edit_text._decoded", return_value={}), expected:
                rewritten(text, {"a": 2})

    def test_other_members(self) -> None:
        """A text that says something else than was read is refused."""
        for document in ({"b": 1}, {"a": {}}, {"a": [1, 2, 3]}, {}, []):
            expected = self.assertRaisesRegex(OpenClawError, r"line 1, column \d: what reads")
            with mock.patch("openclaw.config.edit_text._decoded", return_value=document), expected:
                rewritten("{a: [1, 2]}", {"c": 1})


# ---------------------------------------------------------------------------------------- random files

EDITS = int(os.environ.get("OPENCLAW_TEST_EDITS") or "300")
"""How many random files are edited."""

BATCH = 5000
"""How many of them come from one search, which remembers all that it has seen."""

MEMORY_BYTES = 512 * 1024 * 1024
"""What editing one may take in addition to what the process has."""

EXAMPLE_S = 10.0
"""What editing one may take, seconds of the processor."""

_PLAIN_GAPS = ["", "", "", " ", " ", "\n", "\n  ", "\t", "\r\n", "/* ] */", "// }\n", "// ,\r\n"]
_ODD_GAPS = [
    *("\r", "\v", "\f", "\u00a0", "\u2028", "\u2029", "\ufeff", "\u2003", "\u3000", "\u1680", "\u202f"),
    *("// ]\r", "// }\u2028", "//,\u2029", "/*\r*/", "/*\u2028//*/", "/**/", "/***/", "//\x85]\n", "//'\n", '/*"*/'),
    *("//\r\r\n", "// /*\n", "//\\\n"),
]
_WORDS = ["1", "0", "-1", "+.5", "5.", "1e5", "-1.5E-3", "0x1F", "+0xe5", "NaN", "-NaN", "Infinity", "-Infinity"]
_WORDS += ["true", "false", "null", "-0", "1e+30", "123456789012345678901234567890"]
_STRINGS = ["''", '""', "'a'", '"// x"', "'/*'", '"\u2028"', "'\\\n'", '"\\\r\n"', "'\\\u2029'", "'\\x41\\u0062'"]
_STRINGS += ["'\\ud83d\\ude00'", '"\\ud800"', "'\U0001f600'", "'\\'\"'", '"\\\\"', "'\\0\\v'", "'\t\x01\x7f\x85'"]
_STRINGS += ["'\\]'", '"}],"']
_NAMES = ["a", "b", "c", "$x", "_", "true", "null", "NaN", "Infinity", "e5", "E9x", "x0", "\\u0061", "b\\u0031"]
_NAMES += ["\u00e9", "\u4e2d", "a\u0301", "x\u200c", "\u2160", "\U00020000", "\u00aa", "a\u203f"]

_gaps = st.one_of(st.sampled_from(_PLAIN_GAPS), st.sampled_from(_PLAIN_GAPS), st.sampled_from(_PLAIN_GAPS + _ODD_GAPS))
_plain = st.sampled_from(_WORDS + _STRINGS)
_keys = st.sampled_from(_NAMES + _STRINGS)


def _lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(st.tuples(_gaps, values, _gaps).map("".join), max_size=3)
    ends = st.sampled_from(["]", "]", ",]"])
    return st.tuples(items, _gaps, ends).map(lambda parts: _closed("[", *parts))


def _objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(_gaps, _keys, _gaps, st.just(":"), _gaps, values, _gaps).map("".join), max_size=3)
    ends = st.sampled_from(["}", "}", ",}"])
    return st.tuples(members, _gaps, ends).map(lambda parts: _closed("{", *parts))


def _closed(opening: str, parts: list[str], gap: str, end: str) -> str:
    return opening + ",".join(parts) + (end if parts else gap + end[-1])


_values = st.recursive(_plain, lambda below: st.one_of(_lists(below), _objects(below)), max_leaves=8)
_files = st.tuples(_gaps, _objects(_values), _gaps).map("".join)
_slips = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(["", *"{}[]:,/*'\"\\+-.0xe \r\n\u2028\u2003", "//", "/*", "*/"])),
    max_size=2,
)
"""Characters that are put in the place of others."""


@contextlib.contextmanager
def bounded_memory(more_bytes: int) -> Iterator[None]:
    """Let the process have so much more memory, and an error in place of more than that."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + more_bytes
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def bounded_time(seconds: float) -> Iterator[None]:
    """End by an error what takes more of the processor."""

    def end(number: int, frame: object) -> None:
        raise AssertionError(f"this takes longer than {seconds} s")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _changes(document: Any) -> Iterator[tuple[Callable[[Any], Any], str]]:
    yield lambda old: with_value(old, ("new", "of"), [1, {"x": "y"}]), "add"
    for key in list(document)[:2]:
        yield lambda old, key=key: without_value(old, (key,)), f"remove {key!r}"
        yield lambda old, key=key: with_value(old, (key,), {"changed": True}), f"change {key!r}"
        below = document[key]
        if isinstance(below, list):
            end = (key, str(len(below)))
            yield lambda old, end=end: with_value(old, end, "more"), f"append to {key!r}"
        elif isinstance(below, dict):
            yield lambda old, key=key: with_value(old, (key, "more"), 1), f"add to {key!r}"


class RandomTests(SynchronousTestCase):
    def test_two_outcomes(self) -> None:
        """Of a valid file an edit makes what was asked for, or it is refused with a place; there is nothing else."""
        count = {"edited": 0, "refused": 0}
        for batch in range(0, EDITS, BATCH):
            self._edit_random_files(batch, min(BATCH, EDITS - batch), count)
        self.assertGreater(count["edited"], EDITS)
        self.assertGreater(count["refused"], EDITS // 10)

    def _edit_random_files(self, batch: int, examples: int, count: dict[str, int]) -> None:
        @seed(batch)
        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(_files, _slips)
        def edit(text: str, slips: list[tuple[int, str]]) -> None:
            for place, new in slips:
                at = place % (len(text) + 1)
                text = text[:at] + new + text[at + 1 :]
            try:
                document = pyjson5.decode(text, maxdepth=MAX_DEPTH)
            except pyjson5.Json5DecoderException:
                document = None
            assume(isinstance(document, dict))
            with bounded_time(EXAMPLE_S), bounded_memory(MEMORY_BYTES):
                for change, name in _changes(document):
                    count[self._result(text, change(document), name)] += 1

        edit()

    def _result(self, text: str, wanted: Any, name: str) -> str:
        try:
            result = rewritten(text, wanted)
        except OpenClawError as error:
            self.assertRegex(error.message, r"^this file cannot be edited: line \d+, column \d+: .+", (text, name))
            return "refused"
        self.assertEqual(repr(_sorted(pyjson5.decode(result))), repr(_sorted(wanted)), (text, name))
        return "edited"


def _sorted(value: Any) -> Any:
    """A document with its keys in order; as text it tells C{1} from C{true}."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
