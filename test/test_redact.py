"""Tests of L{openclaw.redact}."""

from __future__ import annotations

import re
import timeit

from twisted.trial.unittest import SynchronousTestCase

from openclaw import redact
from openclaw.redact import LEAST_SECRET_CHARACTERS, MAX_TEXT_CHARACTERS, Redactor, compile_pattern, mask

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKC\nAQEAxyz\n-----END RSA PRIVATE KEY-----"

SECRET_LINES = (
    # the line, what must be gone, what must still be there
    ("Authorization: Bearer hunter-two-and-more", "hunter-two-and-more", "Authorization: Bearer"),
    ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "authorization: Basic"),
    ("{b'Authorization': [b'Bearer abc.def-ghi']}", "abc.def-ghi", "Authorization"),
    ("the head said bearer abcdefgh", "abcdefgh", "the head said bearer"),
    ("Proxy-Authorization: opaque-value-1", "opaque-value-1", "Proxy-Authorization"),
    ("Set-Cookie: sid=abcdef; Path=/", "sid=abcdef", "Path=/"),
    ("x-api-key: abcdef", "abcdef", "x-api-key"),
    ('{"apiKey":"topsecret123","n":1}', "topsecret123", '"n":1'),
    ('{"password": "two words", "n": 1}', "two words", '"n": 1'),
    ('{\\"api_key\\":\\"topsecret123\\"}', "topsecret123", "api_key"),
    ("OPENCLAW_GATEWAY_TOKEN=abcdefgh rest", "abcdefgh", "rest"),
    ("AWS_SECRET_ACCESS_KEY=abcdefgh", "abcdefgh", "AWS_SECRET_ACCESS_KEY"),
    ("client_secret=abcdefgh&x=1", "abcdefgh", "&x=1"),
    ("password: hunter2", "hunter2", "password: "),
    ("passwd=x;", "=x", ";"),
    ("GET /v1?key=abcdefg&x=1", "abcdefg", "&x=1"),
    ("https://user:p@ss@host/path", "p@ss", "@host/path"),
    ("https://ghtoken@host/path", "ghtoken", "@host/path"),
    ("a " + PEM + " b", "MIIEowIBAAKC", " b"),
    ("cut -----BEGIN PRIVATE KEY-----\nMIIEowIBAAKC", "MIIEowIBAAKC", "cut -----BEGIN"),
    ("key sk-proj-abcdefghijklmnop1234 is wrong", "abcdefghijkl", "is wrong"),
    ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "456789abcdef", "ghp_01"),
    ("xoxb-123456789012-abcdefghijkl", "456789012", "xoxb-1"),
    ("AKIAIOSFODNN7EXAMPLE", "OSFODNN7EX", "AKIAIO"),
    ("AIzaSyA1234567890abcdefghijklmnopqrstu", "1234567890", "AIzaSy"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijk", "eyJzdWIi", "eyJhbG"),
    ("bot 123456789:AAabcdefghijklmnopqrstuvwxyz0123456 said", "abcdefghijklm", "said"),
    ("https://api.example/bot123456789:AAabcdefghijklmnopqrstuvwxyz0123456/send", "abcdefghijklm", "/send"),
)

HARMLESS_LINES = (
    "run r1 on p/m failed: provider_error: the provider could not be reached",
    "openclaw 1.0 listens at http://127.0.0.1:18789",
    "gateway.auth.token: expected a string",
    "gateway.auth.password: must not be empty",
    "max_tokens=100, total_tokens: 7",
    "Bearer authentication is required",
    'apiKey: ${ACME_KEY}, token: null, password="***"',
    "the task-list of disk-usage and risk-free_things",
    "token: is missing",
    "no credential: run openclaw quickstart, or set OPENCLAW_GATEWAY_TOKEN",
)


class RuleTests(SynchronousTestCase):
    def test_what_looks_like_a_credential(self) -> None:
        redactor = Redactor()
        for line, gone, stays in SECRET_LINES:
            cleaned = redactor.clean(line)
            self.assertNotIn(gone, cleaned)
            self.assertIn(stays, cleaned)

    def test_the_rest_is_left_alone(self) -> None:
        redactor = Redactor()
        for line in HARMLESS_LINES:
            self.assertEqual(redactor.clean(line), line)

    def test_cleaning_twice_changes_nothing(self) -> None:
        redactor = Redactor()
        for line, _, _ in SECRET_LINES:
            once = redactor.clean(line)
            self.assertEqual(redactor.clean(once), once)

    def test_ends_of_long_values_stay(self) -> None:
        self.assertEqual(mask("a" * 17), "***")
        self.assertEqual(mask("abcdefghijklmnopqr"), "abcdef…opqr")

    def test_speed(self) -> None:
        """A typical line costs some µs; the bound is loose, as the machine may be busy."""
        redactor = Redactor()
        redactor.learn(f"secret-value-{number}" for number in range(20))
        seconds = min(timeit.repeat(lambda: redactor.clean(HARMLESS_LINES[0]), number=200, repeat=5)) / 200
        self.assertLess(seconds, 100e-6)

    def test_texts_made_to_trouble_the_rules(self) -> None:
        redactor = Redactor()
        for part in (
            "a",
            "token",
            "://",
            "token: ",
            "-----BEGIN ",
            "bearer ",
            "sk-",
            "token=\\",
            "?key",
            "1:AA",
            "'\"",
        ):
            text = part * (MAX_TEXT_CHARACTERS // len(part))
            seconds = min(timeit.repeat(lambda text=text: redactor.clean(text), number=1, repeat=3))
            self.assertLess(seconds, 0.5, part)


class LearnTests(SynchronousTestCase):
    def test_exact_values(self) -> None:
        redactor = Redactor()
        redactor.learn(["horse battery", "correct-horse battery staple"])
        self.assertEqual(redactor.clean("it is horse battery!"), "it is ***!")
        self.assertEqual(redactor.clean("correct-horse battery staple"), "correc…aple")

    def test_as_it_is_written_elsewhere(self) -> None:
        redactor = Redactor()
        redactor.learn(['pass"w\\ord ä/x'])
        for text in ('{"k": "pass\\"w\\\\ord \\u00e4/x"}', "?a=pass%22w%5Cord%20%C3%A4%2Fx", repr('pass"w\\ord ä/x')):
            self.assertNotIn("ord", redactor.clean(text))

    def test_short_values_and_placeholders_are_passed_over(self) -> None:
        redactor = Redactor()
        redactor.learn(["x" * (LEAST_SECRET_CHARACTERS - 1), "ollama", "  ", "y" * LEAST_SECRET_CHARACTERS])
        self.assertEqual(redactor.clean("xxxxx ollama yyyyyy"), "xxxxx ollama ***")

    def test_old_values_stay_known(self) -> None:
        redactor = Redactor()
        redactor.learn(["first-one"])
        redactor.learn(["second-one"])
        self.assertEqual(redactor.clean("first-one second-one"), "*** ***")

    def test_what_is_remembered_is_bounded(self) -> None:
        self.patch(redact, "MAX_KNOWN_FORMS", 8)
        redactor = Redactor()
        for number in range(20):
            redactor.learn(["first-one", f"secret-{number:03}"])
        self.assertEqual(redactor.clean("first-one secret-019"), "*** ***")
        self.assertEqual(redactor.clean("secret-000"), "secret-000")

    def test_one_is_a_part_of_another(self) -> None:
        redactor = Redactor()
        redactor.learn(["abcdef", "abcdefghi"])
        self.assertEqual(redactor.clean("abcdefghi"), "***")

    def test_long_texts_are_cut_after_they_are_cleaned(self) -> None:
        redactor = Redactor()
        secret = "S" * 40
        redactor.learn([secret])
        text = "x" * (MAX_TEXT_CHARACTERS - 10) + secret + "y" * 100_000
        cleaned = redactor.clean(text)
        self.assertNotIn("SSSSSSS", cleaned)
        self.assertTrue(cleaned.endswith(f"({len(text)} characters)"))
        self.assertLess(len(cleaned), MAX_TEXT_CHARACTERS + 40)


class PatternTests(SynchronousTestCase):
    def cleaned(self, pattern: str, text: str) -> str:
        return Redactor([compile_pattern(pattern)]).clean(text)

    def test_groups(self) -> None:
        self.assertEqual(self.cleaned(r"corp-\d+", "id corp-123."), "id ***.")
        self.assertEqual(self.cleaned(r"id (corp-\d+)", "id corp-123."), "id ***.")
        self.assertEqual(self.cleaned(r"(id) (?:corp-(\d+)|x)", "id corp-123, id x"), "id corp-***, *** x")

    def test_flags(self) -> None:
        self.assertEqual(self.cleaned("/CORP/gi", "corp"), "***")
        self.assertEqual(self.cleaned("/corp/x", "a /corp/x b"), "a *** b")

    def test_each_line_by_itself(self) -> None:
        self.assertEqual(self.cleaned("^ab.*$", "abc\nxab\nabd"), "***\nxab\n***")

    def test_the_original_s_own_pattern(self) -> None:
        pattern = r"""\b[A-Z0-9_]*(?:KEY|PHRASE)\b\s*[=:]\s*(["']?)([^\s"'\\]+)\1"""
        self.assertEqual(self.cleaned(pattern, "MY_PHRASE='abcdef'"), "MY_PHRASE='***'")

    def test_wrong_patterns(self) -> None:
        for pattern, reason in (
            ("[", "is no regular expression"),
            ("x*", "matches the empty text"),
            ("a" * 501, "at most 500 characters"),
            ("a{1,99999999999999}", "is no regular expression"),
        ):
            self.assertIn(reason, str(self.assertRaises(ValueError, compile_pattern, pattern)))

    def test_catastrophic_patterns_are_refused(self) -> None:
        for pattern in (r"(a+)+$", r"(a|a)*b", r"(a|aa)+$", r"(x+x+)+y", r"(\w+\s?)*:", r".*.*.*x"):
            error = self.assertRaises(ValueError, compile_pattern, pattern)
            self.assertIn("takes too long", str(error))

    def test_a_slow_pattern_is_given_up(self) -> None:
        self.patch(redact, "PIECE_DEADLINE_S", -1.0)
        redactor = Redactor([re.compile("ab")])
        self.assertEqual(redactor.clean("ab ab"), "*** ***")
        self.assertEqual(redactor.slow_patterns, ["ab"])
        self.assertEqual(redactor.clean("ab ab"), "ab ab")

    def test_other_patterns(self) -> None:
        redactor = Redactor([re.compile("ab")])
        redactor.use_patterns([re.compile("cd")])
        self.assertEqual(redactor.clean("ab cd"), "ab ***")
