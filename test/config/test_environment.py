"""Substitution and C{.env} files."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.environment import Filled, fill, fill_text, is_env_reference, parse_dotenv


class FillTests(SynchronousTestCase):
    """C{${NAME}}."""

    def test_text(self) -> None:
        """Names are replaced wherever they stand, literals and other forms are not."""
        environ = {"A": "1", "B_2": "two", "EMPTY": "", "LOOP": "${A}"}
        for text, value, missing in [
            ("${A}", "1", ()),
            ("x${A}y${B_2}z", "x1ytwoz", ()),
            ("$${A}", "${A}", ()),
            ("$$${A}", "$${A}", ()),
            ("${NO}${A}${NO}", "${NO}1${NO}", ("NO",)),
            ("${EMPTY}", "${EMPTY}", ("EMPTY",)),
            ("${LOOP}", "${A}", ()),
        ]:
            filled = fill_text(text, environ)
            assert isinstance(filled, Filled)
            self.assertEqual((value, missing, text), (str(filled), filled.missing, filled.written))
        for text in ("", "plain", "$A", "${a}", "${1A}", "${A", "${ A }", "$$"):
            self.assertIs(text, fill_text(text, environ))

    def test_document(self) -> None:
        """Strings in objects and lists are replaced, keys and other values are not; the original stays."""
        missing: list[object] = []
        document = {"${A}": ["${A}", 1, None, {"x": "${NO}"}]}
        filled = fill(document, {"A": "1"}, lambda path, names: missing.append((path, names)))
        self.assertEqual({"${A}": ["1", 1, None, {"x": "${NO}"}]}, filled)
        self.assertEqual("${A}", document["${A}"][0])
        self.assertEqual([(("${A}", "3", "x"), ("NO",))], missing)

    def test_reference(self) -> None:
        """A reference into the environment is resolved; one that looks alike is left."""
        self.assertEqual("1", fill({"source": "env", "id": "A"}, {"A": "1"}, self.fail))
        for value in (
            {"source": "file", "id": "A"},
            {"source": "env", "id": "a"},
            {"source": "env", "id": 1},
            {"source": "env"},
            {"source": "env", "id": "A", "more": 1},
        ):
            self.assertFalse(is_env_reference(value))
            self.assertEqual(value, fill(value, {"A": "1"}, self.fail))


class DotenvTests(SynchronousTestCase):
    """L{parse_dotenv}."""

    def test_lines(self) -> None:
        """The usual forms."""
        text = "\n".join(
            [
                "\ufeffA=1",
                "  # comment",
                "",
                "export B = two words # comment",
                "C='a # \\n b' # c",
                r'D="a \"q\" \n\t\r\\ b"',
                "E=",
                "F=a#b",
                "G= # nothing",
                "A=2",
            ]
        )
        values, bad = parse_dotenv(text)
        self.assertEqual(
            {
                "A": "2",
                "B": "two words",
                "C": "a # \\n b",
                "D": 'a "q" \n\t\r\\ b',
                "E": "",
                "F": "a#b",
                "G": "",
            },
            values,
        )
        self.assertEqual((), bad)

    def test_bad_lines(self) -> None:
        """Lines that say nothing are numbered."""
        self.assertEqual(({"B": "1"}, (1, 2, 4, 5)), parse_dotenv('nonsense\n1A=x\nB=1\nC=\'open\nD="open\\"'))
