"""Edits of JSON5 text: the table of what stays, and random texts."""

import copy
import json
import random
from typing import Any

import pyjson5
from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.setup.first_config import CONFIG_TEMPLATE
from openclaw.config.edit_document import with_value, without_value
from openclaw.config.edit_text import rewritten
from openclaw.errors import OpenClawError

GONE = object()
"""Stands for the removal of a value."""

Edits = dict[str, Any]


def edited(text: str, edits: Edits) -> str:
    document = pyjson5.decode(text)
    for path, value in edits.items():
        steps = tuple(path.split("."))
        document = without_value(document, steps) if value is GONE else with_value(document, steps, value)
    return rewritten(text, document)


TABLE: list[tuple[str, str, Edits, str]] = [
    ("value", "{a: 1} // end\n", {"a": 2}, "{a: 2} // end\n"),
    ("same", "{ a : 0x10, b: 'x', }", {"a": 16, "b": "x"}, "{ a : 0x10, b: 'x', }"),
    ("only what differs", "{a: 'x', /* b */ b: .5, c: +1e3}", {"b": 2}, "{a: 'x', /* b */ b: 2, c: +1e3}"),
    ("text", '{"a": "x"}', {"a": 'é"\n'}, '{"a": "é\\"\\n"}'),
    ("numbers", "{a: 0, b: 0, c: 0}", {"a": float("inf"), "b": float("-inf"), "c": 1.5},
     "{a: Infinity, b: -Infinity, c: 1.5}"),
    ("no number", "{a: NaN, b: -NaN, c: 1}", {"c": 2}, "{a: NaN, b: -NaN, c: 2}"),
    ("from no number", "{a: NaN}", {"a": 1.5}, "{a: 1.5}"),
    ("byte order mark", "\ufeff{a: 1}", {"b": 2}, "\ufeff{a: 1, b: 2}"),
    ("true is not 1", "{a: 1}", {"a": True}, "{a: true}"),
    ("kind", "{\n  a: {\n    b: 1, // gone\n  },\n}", {"a": 1}, "{\n  a: 1,\n}"),
    ("nested", "{\n  a: {\n    // why\n    b: 1, // and how\n  },\n}", {"a.b": 2},
     "{\n  a: {\n    // why\n    b: 2, // and how\n  },\n}"),
    ("add to one line", "{ a: 1 }", {"b": {"c": [1]}}, "{ a: 1, b: { c: [1] } }"),
    ("add to one line with a comma", "{ a: 1, }", {"b": 2}, "{ a: 1, b: 2, }"),
    ("add below", "{\n  a: 1,\n}\n", {"b": 2}, "{\n  a: 1,\n  b: 2,\n}\n"),
    ("add below without a comma", '{\n  "a": 1\n}\n', {"b": {"c": 2}},
     '{\n  "a": 1,\n  "b": {\n    "c": 2\n  }\n}\n'),
    ("the comma goes before the comment", "{\n  a: 1 // one\n}", {"b": 2}, "{\n  a: 1, // one\n  b: 2\n}"),
    ("behind the comment", "{\n  a: 1, // one\n}", {"b": 2}, "{\n  a: 1, // one\n  b: 2,\n}"),
    ("before what is commented out", "{\n  a: 1,\n  // b: 3,\n}", {"b": 2}, "{\n  a: 1,\n  b: 2,\n  // b: 3,\n}"),
    ("tabs", '{\n\t"a": 1\n}', {"b": {"c": 1}}, '{\n\t"a": 1,\n\t"b": {\n\t\t"c": 1\n\t}\n}'),
    ("line ends", "{\r\n  a: 1, // x\r\n}\r\n", {"b": 2}, "{\r\n  a: 1, // x\r\n  b: 2,\r\n}\r\n"),
    ("line ends removed", "{\r\n  a: 1, // x\r\n  b: 2,\r\n}\r\n", {"a": GONE}, "{\r\n  b: 2,\r\n}\r\n"),
    ("to nothing", "{}\n", {"a.b": 1}, '{\n  "a": {\n    "b": 1\n  }\n}\n'),
    ("to a comment", "{\n  // nothing yet\n}\n", {"a": 1}, '{\n  // nothing yet\n  "a": 1\n}\n'),
    ("to a comment on the line", "{ /* c */ }", {"a": 1}, '{ /* c */ \n  "a": 1\n}'),
    ("quotes where needed", "{ a: 1 }", {"x-y": 1, "b": 2}, '{ a: 1, "x-y": 1, b: 2 }'),
    ("list grows", "{a: [1, /* two */ 2]}", {"a": [1, 2, 3]}, "{a: [1, /* two */ 2, 3]}"),
    ("list shrinks", "{a: [1, /* two */ 2, 3]}", {"a": [1, 3]}, "{a: [1, /* two */ 3]}"),
    ("list shrinks and changes", "{a: [1, 2, 3]}", {"a": [5, 6]}, "{a: [5, 6]}"),
    ("list of objects", "{a: [\n  {id: 1}, // one\n]}", {"a.0.id": 2, "a.1": {"id": 3}},
     "{a: [\n  {id: 2}, // one\n  {\n    id: 3\n  },\n]}"),
    ("long list", '{\n  "a": 1\n}', {"b": ["x" * 60, "y" * 60]},
     '{\n  "a": 1,\n  "b": [\n    "' + "x" * 60 + '",\n    "' + "y" * 60 + '"\n  ]\n}'),
    ("remove line", "{\n  // about a\n  a: 1, // tail\n  b: 2,\n}", {"a": GONE}, "{\n  // about a\n  b: 2,\n}"),
    ("remove last", '{\n  "a": 1,\n  "b": 2\n}', {"b": GONE}, '{\n  "a": 1\n}'),
    ("remove all", "{ a: 1 }", {"a": GONE}, "{ }"),
    ("remove of one line", "{ a: 1, b: 2, c: 3 }", {"b": GONE}, "{ a: 1, c: 3 }"),
    ("remove last of one line", "{ a: 1, b: 2 }", {"b": GONE}, "{ a: 1 }"),
    ("remove neighbours", "{ a: 1, b: 2, c: 3 }", {"a": GONE, "b": GONE}, "{ c: 3 }"),
    ("remove and add", "{\n  a: 1,\n  b: 2, // x\n}", {"b": GONE, "c": 3}, "{\n  a: 1,\n  c: 3,\n}"),
    ("names spelt oddly", "{'a': 1, \\u0062: 2, null: 3}", {"a": 5, "b": 6, "null": 7},
     "{'a': 5, \\u0062: 6, null: 7}"),
    ("doubled names", "{a: 1, a: 2}", {"a": 3}, "{a: 1, a: 3}"),
    ("doubled names removed", "{a: 1, a: 2, b: 3}", {"a": GONE}, "{b: 3}"),
    ("a block comment before more", "{\n  a: 1, /* of b */ b: 2,\n}", {"a": GONE}, "{\n  /* of b */ b: 2,\n}"),
]  # fmt: skip


class TableTests(SynchronousTestCase):
    def test_table(self) -> None:
        for name, text, edits, expected in TABLE:
            self.assertEqual(edited(text, edits), expected, name)

    def test_quickstart_file(self) -> None:
        """Of the file of quickstart nothing but the line that is meant changes."""
        text = CONFIG_TEMPLATE % {"token": "abc", "port": 18789}
        self.assertEqual(edited(text, {"gateway.port": 18790}), text.replace("18789", "18790"))
        self.assertEqual(edited(text, {"gateway.auth.token": GONE}), text.replace('      token: "abc",\n', ""))
        added = edited(text, {"agents.entries.main.name": "Ada"})
        self.assertEqual(added, text.replace("main: {},", 'main: {\n        name: "Ada",\n      },'))

    def test_not_foreseen(self) -> None:
        """A text that would lose something is refused."""
        for text in ("{a: 1", "{\u2003a: 1}"):
            with self.assertRaisesRegex(OpenClawError, "by hand"):
                rewritten(text, {"a": 2})
        for value in ("\ud800", {"\udc00": 1}):
            with self.assertRaisesRegex(OpenClawError, "half a surrogate pair"):
                rewritten("{a: 1}", {"a": value})
        # a comment that ends with a lone carriage return, for JSON5 but not for the tokens
        with self.assertRaisesRegex(OpenClawError, "by hand"):
            rewritten("{b: 1, // x\ra: 1\n}", {"a": 2, "b": 1})


def _value(r: random.Random, depth: int = 0) -> Any:
    kind = r.random()
    if depth < 3 and kind < 0.45:
        return {r.choice("abcdef"): _value(r, depth + 1) for _ in range(r.randint(0, 4))}
    if depth < 3 and kind < 0.7:
        return [_value(r, depth + 1) for _ in range(r.randint(0, 3))]
    return r.choice([1, True, None, "x", -1.5, 'ü"', 1e30, []])


def _written(r: random.Random, value: Any, comments: list[str]) -> str:
    """A value with blanks and comments at every place that allows them."""

    def gap() -> str:
        mark = f"#{len(comments)}#"
        text = r.choice(["", " ", "\n", "\r\n  ", f" /* {mark} */ ", f" // {mark}\n", "\t", f"\n  // {mark}\n  "])
        if mark in text:
            comments.append(mark)
        return text

    comma = "," if value and r.random() < 0.5 else ""
    if isinstance(value, dict):
        items = [
            f"{gap()}{r.choice([key, json.dumps(key), repr(key)])}{gap()}:{gap()}{_written(r, item, comments)}{gap()}"
            for key, item in value.items()
        ]
        return f"{{{','.join(items)}{comma}{gap()}}}"
    if isinstance(value, list):
        items = [f"{gap()}{_written(r, item, comments)}{gap()}" for item in value]
        return f"[{','.join(items)}{comma}{gap()}]"
    return json.dumps(value)


class RandomTests(SynchronousTestCase):
    def test_any_change(self) -> None:
        """Whatever changes in whatever text, the result says it."""
        for seed in range(600):
            r = random.Random(seed)
            before = {r.choice("abcdef"): _value(r) for _ in range(4)}
            after = {key: value for key, value in before.items() if r.random() < 0.5}
            after |= {r.choice("abcdef"): _value(r) for _ in range(3)}
            # rewritten() itself compares the result with what was asked for
            self.assertEqual(pyjson5.decode(rewritten(_written(r, before, []), after)), after, seed)

    def test_additions_keep_every_comment(self) -> None:
        """Who only adds and replaces plain values loses no comment."""
        for seed in range(300):
            r = random.Random(seed)
            before = {key: _value(r) for key in "abc"}
            comments: list[str] = []
            text = _written(r, before, comments)
            after = copy.deepcopy(before)
            after["new"] = _value(r)
            for value in after.values():
                if isinstance(value, dict):
                    value["new"] = 1
                    value.update({key: 77 for key, item in value.items() if not isinstance(item, dict | list)})
            result = rewritten(text, after)
            self.assertEqual([mark for mark in comments if mark not in result], [], seed)
