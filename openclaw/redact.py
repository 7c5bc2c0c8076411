"""
What must not be read in a log: secrets are masked in every text that is written.

Masked are the values that the gateway knows to be secret (L{Redactor.learn}), what looks like a credential, and what
the operator's own patterns (C{logging.redactPatterns}) match.  A long value keeps its first 6 and last 4 characters,
as in the original's logs, so that two keys can be told apart.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote

import attrs

MAX_TEXT_CHARACTERS = 16 * 1024
"""What is kept of one text; matching is bounded by it."""

LEAST_SECRET_CHARACTERS = 6
"""A shorter value is not masked by itself: it would blacken half of every log."""

LEAST_SHOWN_CHARACTERS = 18
"""From this length on a masked value keeps its ends."""

MAX_KNOWN_FORMS = 4000
"""Most forms of secrets that are remembered, about four each; those that were learned longest ago go first."""

MAX_PATTERNS = 50
"""Most patterns of an operator."""

MAX_PATTERN_CHARACTERS = 500
"""Longest pattern of an operator."""

PIECE_CHARACTERS = 1024
"""What an operator's pattern sees at once: a line, or so much of it."""

PIECE_DEADLINE_S = 0.05
"""A pattern that took longer than this for one piece is not used again, in seconds of the processor."""

PROBE_DEADLINE_S = 0.01
"""A pattern that takes longer than this for a text made to trouble it is refused, in seconds of the processor."""

MASK = "***"

# As long as the longest secret that is expected, so that none is cut in two before it is looked for.
_OVERLAP_CHARACTERS = 8 * 1024

# What people write where a local model server wants some key or other.
_PLACEHOLDERS = frozenset({"ollama", "lm-studio", "not-needed", "no-key", "no-key-required", "sk-no-key-required"})


@attrs.frozen
class _Rule:
    """
    One way to find secrets.

    @ivar hints: one of these is in the lower-case text wherever the pattern matches; spares the search.
    @ivar replacement: as for C{re.sub}.
    """

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]


def mask(value: str) -> str:
    """What is written in a value's place."""
    return MASK if len(value) < LEAST_SHOWN_CHARACTERS else f"{value[:6]}…{value[-4:]}"


def _mask_last_group(found: re.Match[str]) -> str:
    """The match with its last group masked; with all of it masked if it has none."""
    group = found.lastindex or 0
    start, end = (edge - found.start() for edge in found.span(group))
    return f"{found[0][:start]}{mask(found[group])}{found[0][end:]}" if found[0] else ""


# Between a name and its value: quotes (escaped ones too, and those of bytes), then "=" or ":".
_IS = r"\\{0,3}+[\"']?+\s{0,3}+[=:]\s{0,3}+\[?+(?:b(?=[\"']))?+\\{0,3}+[\"']?+"

# Words that follow "token:" in our own messages, and values that hide nothing or are masked already.
_HARMLESS = (
    r"(?!(?:expected|must|required|missing|unknown|invalid|is|not|run|the|no|wrong|a|an|cannot|stays|null|none|true|false"
    r"|str|bytes)(?:[\s:;,.]|\Z)|secret\(|\*\*\*|\$\{|__OPENCLAW_|[^\s\"]{6}…)"
)

# In quotes a value ends with them, else with what ends a word.
_VALUE = r"(?:(?<=[\"'])([^\"'\\\n]+)|([^\s\"'&,;)}\]\\]+))"

_KEY_PREFIX = _Rule(
    (
        *("sk-", "sk_", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "xapp-"),
        *("akia", "asia", "aiza", "hf_", "gsk_", "npm_", "pypi-", "ya29.", "eyj", "pplx-", "nvapi-", "whsec_"),
        *("shpat_", "sg.", "r8_", "xai-", "tvly-", "dop_v1_"),
    ),
    re.compile(
        r"(?<![A-Za-z0-9])((?:sk-|[sr]k_(?:live|test)_|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|xapp-|A[KS]IA|AIza|hf_"
        r"|gsk_|npm_|pypi-|ya29\.|eyJ|pplx-|nvapi-|whsec_|shpat_|SG\.|r8_|xai-|tvly-|dop_v1_)[\w.=-]{10,})"
    ),
    _mask_last_group,
)
_BOT_TOKEN = _Rule((":aa",), re.compile(r"(?<!\d)(\d{8,10}:AA[\w-]{30,})"), _mask_last_group)

_RULES = (
    _Rule(
        ("-----begin",),
        re.compile(r"(-----BEGIN [A-Z0-9 ]{0,40}-----).*?(-----END [A-Z0-9 ]{0,40}-----|\Z)", re.DOTALL),
        rf"\g<1>{MASK}\g<2>",
    ),
    _Rule(
        ("authorization", "cookie"),
        re.compile(
            rf"(?i)(?:authorization|cookie){_IS}(?:(?:bearer|basic|digest|token)\s+)?+{_HARMLESS}([^\s\"',;}}\]]+)"
        ),
        _mask_last_group,
    ),
    _Rule(
        ("bearer ", "basic "),
        re.compile(r"(?i)\b(?:bearer|basic)\s{1,3}(?!(?:token|auth\w*|credentials?|scheme)\b)([\w.~+/=-]{6,}+)(?!…)"),
        _mask_last_group,
    ),
    _Rule(("://",), re.compile(r"(://)[^\s/\"'<>]{1,500}@"), rf"\g<1>{MASK}@"),
    _Rule(
        (
            *("token", "passw", "passphrase", "secret", "credential", "apikey", "api_key", "api-key", "accesskey"),
            *("access_key", "access-key", "privatekey", "private_key", "private-key"),
        ),
        re.compile(
            r"(?i)(?:token|passw(?:or)?d|passphrase|secret(?:[_-]?(?:access[_-]?)?key)?|(?:api|private|access)[_-]?key"
            rf"(?:[_-]?id)?|credential){_IS}{_HARMLESS}{_VALUE}"
        ),
        _mask_last_group,
    ),
    _Rule(("?", "&"), re.compile(r"(?i)[?&](?:key|sig|signature|auth|code)=([^\s\"'&]+)"), _mask_last_group),
    _KEY_PREFIX,
    _BOT_TOKEN,
)


def shows_credential(text: str) -> bool:
    """Whether a text holds what is a credential by its looks alone: a PEM key, a token with a known beginning."""
    return any(rule.pattern.search(text) for rule in (_KEY_PREFIX, _BOT_TOKEN)) or "PRIVATE KEY-----" in text


class Redactor:
    """
    Masks secrets in texts.

    It may be used by several threads.

    @param patterns: the operator's own, compiled by L{compile_pattern}.
    @ivar slow_patterns: those of them that were given up because they took too long.
    """

    def __init__(self, patterns: Sequence[re.Pattern[str]] = ()) -> None:
        # From each form of a secret to what is written in its place, the one last learned last.
        self._forms: dict[str, str] = {}
        self._known: tuple[tuple[str, str], ...] = ()
        self._patterns = tuple(patterns)
        self.slow_patterns: list[str] = []

    def learn(self, values: Iterable[str]) -> None:
        """
        Mask these values too from now on, and what they are in JSON and in a URL.

        What was learned before stays masked, as far as L{MAX_KNOWN_FORMS} allows: a key that was changed may still be
        said by a run that began with it.
        Values of less than L{LEAST_SECRET_CHARACTERS} characters are passed over.
        """
        forms = dict(self._forms)
        for value in values:
            value = value.strip()
            if len(value) < LEAST_SECRET_CHARACTERS or value.lower() in _PLACEHOLDERS:
                continue
            for form in (value, json.dumps(value)[1:-1], quote(value, safe=""), repr(value)[1:-1]):
                forms.pop(form, None)
                forms[form] = mask(value)
        self._forms = dict(list(forms.items())[-MAX_KNOWN_FORMS:])
        # The longest first: one secret may be a part of another.
        self._known = tuple(sorted(self._forms.items(), key=lambda pair: -len(pair[0])))

    def use_patterns(self, patterns: Sequence[re.Pattern[str]]) -> None:
        """Use these patterns of the operator's in place of the present ones."""
        self._patterns = tuple(patterns)

    def clean(self, text: str) -> str:
        """
        A text without secrets, cut to L{MAX_TEXT_CHARACTERS}.

        It takes about 5 µs for a line of the log that has none.
        """
        characters = len(text)
        if characters > MAX_TEXT_CHARACTERS:
            text = text[: MAX_TEXT_CHARACTERS + _OVERLAP_CHARACTERS]
        for value, masked in self._known:
            if value in text:
                text = text.replace(value, masked)
        lower = text.lower()
        for rule in _RULES:
            for hint in rule.hints:
                if hint in lower:
                    text = rule.pattern.sub(rule.replacement, text)
                    break
        if self._patterns:
            text = "\n".join(self._clean_line(line) for line in text.split("\n"))
        if characters > MAX_TEXT_CHARACTERS:
            text = f"{text[:MAX_TEXT_CHARACTERS]}… ({characters} characters)"
        return text

    def _clean_line(self, line: str) -> str:
        pieces = [line[start : start + PIECE_CHARACTERS] for start in range(0, len(line), PIECE_CHARACTERS)]
        for pattern in self._patterns:
            for index, piece in enumerate(pieces):
                began_s = time.thread_time()
                pieces[index] = pattern.sub(_mask_last_group, piece)
                if time.thread_time() - began_s > PIECE_DEADLINE_S:
                    self._patterns = tuple(other for other in self._patterns if other is not pattern)
                    self.slow_patterns.append(pattern.pattern)
                    break
        return "".join(pieces)


process_redactor = Redactor()
"""The one of this process, as there is one log of the process."""


# ------------------------------------------------------------------------------- the operator's patterns

_DELIMITED = re.compile(r"/(.+)/([a-z]*)", re.DOTALL)
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "g": re.NOFLAG, "u": re.NOFLAG}


@functools.lru_cache(maxsize=4 * MAX_PATTERNS)
def compile_pattern(text: str) -> re.Pattern[str]:
    """
    Compile one of C{logging.redactPatterns}: a regular expression, bare or as C{/expression/flags}.

    It is tried on texts that trouble bad expressions, so this may take some milliseconds.

    @raise ValueError: with a phrase that says what is wrong with it.
    """
    if len(text) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"must have at most {MAX_PATTERN_CHARACTERS} characters")
    delimited = _DELIMITED.fullmatch(text)
    flags = re.NOFLAG
    if delimited is not None and set(delimited[2]) <= _FLAGS.keys():
        text = delimited[1]
        for letter in delimited[2]:
            flags |= _FLAGS[letter]
    try:
        pattern = re.compile(text, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if pattern.search("") is not None:
        raise ValueError("matches the empty text")
    if not _is_quick(pattern):
        raise ValueError("takes too long for some texts: avoid repeats within repeats")
    return pattern


def _is_quick(pattern: re.Pattern[str]) -> bool:
    """
    Whether a pattern stands texts of growing length that almost match.

    The steps are small, so that even time that doubles with each character is noticed before it hurts.
    """
    letters = [*dict.fromkeys(re.sub(r"\W", "", pattern.pattern)[:40]), *"aA0 -_=.:/\"'\\"]
    words = [re.sub(r"\W+", "", pattern.pattern)[:16], "ab", "a ", "a=", "a."]
    seeds = [seed for seed in dict.fromkeys([*letters, *words]) if seed]
    length = 8
    while length <= PIECE_CHARACTERS:
        for seed in seeds:
            text = (seed * length)[:length] + "\x00"
            began_s = time.thread_time()
            pattern.search(text)
            if time.thread_time() - began_s > PROBE_DEADLINE_S:
                return False
        length += 2 if length < 40 else length // 3
    return True
