"""
Where the tokens of a JSON5 text are, for those who cut and paste it.

The configuration is read by C{pyjson5}; C{json5} (the distribution json-five) tells where tokens are.  The two do not
see every valid text alike: to the one a line comment ends at a lone carriage return or at U+2028, to the other it goes
on, over the bracket that follows.  An edit of such a text would be one of another text.  So the text is first looked
through by the rules of its reader, and what the editor is known to see in another way is refused before its tokens are
asked for; then every token is compared.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import attrs

from openclaw.errors import OpenClawError

BLANKS = "".join(map(chr, (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0xA0, 0x2028, 0x2029, 0xFEFF)))
"""What stands for nothing between tokens, to reader and editor alike."""

_SCAN = re.compile(
    rf"(?P<blank>[{BLANKS}]+)"
    r"|(?P<punctuation>[{}\[\]:,])"
    r"""|(?P<string>"(?:[^"\\]++|\\.)*+"|'(?:[^'\\]++|\\.)*+')"""
    r"|(?P<line>//[^\n\r\u2028\u2029]*(?:\r(?=\n))?)"
    r"|(?P<block>/\*.*?\*/)"
    rf"""|(?P<word>[^{BLANKS}{{}}\[\]:,"'/]+)""",
    re.DOTALL,
)

_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F]+|(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|Infinity|NaN)"
)

_IN_NAMES = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Nl", "Nd", "Mn", "Mc", "Pc"))
"""The kinds of character that a name without quotes is made of; there are few others besides."""

UNLIKE = "what reads the file and what edits it do not see this alike"
"""Why a text is refused where nothing more is known."""

_COMMENT_ENDS = {
    "\r": "a lone carriage return",
    "\u2028": "the character U+2028",
    "\u2029": "the character U+2029",
}

_LIBRARY_KINDS = {
    "LBRACE": "{",
    "RBRACE": "}",
    "LBRACKET": "[",
    "RBRACKET": "]",
    "COLON": ":",
    "COMMA": ",",
    "DOUBLE_QUOTE_STRING": "string",
    "SINGLE_QUOTE_STRING": "string",
    "LINE_COMMENT": "comment",
    "BLOCK_COMMENT": "comment",
}


@attrs.frozen
class Token:
    """
    A token of a text.

    @ivar kind: a bracket, colon or comma as it stands, C{string}, C{comment}, or C{word} for a name without quotes, a
        number or a constant.
    """

    kind: str
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """
    The tokens of a text, comments among them and blanks not.

    @param text: what the reader of the configuration took for JSON5.
    @raise OpenClawError: if reader and editor do not see it alike; with line, column and reason.
    """
    tokens = alike(text)
    _compare(text, tokens)
    return tokens


def unlike(text: str, at: int, reason: str = UNLIKE) -> OpenClawError:
    """The error for a text that cannot be edited because of what stands at a place in it."""
    line, column = text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
    return OpenClawError(f"this file cannot be edited: line {line}, column {column}: {reason}; change it by hand")


def alike(text: str) -> list[Token]:
    """
    The tokens of a text by the rules of its reader, if it is free of what its editor is known to see in another way.

    This takes time in proportion to the text, and asks no library.

    @raise OpenClawError: if there is such a thing; with line, column and reason.
    """
    tokens = []
    at = 0
    while at < len(text):
        found = _SCAN.match(text, at)
        if found is None:
            raise unlike(text, at)
        at = found.end()
        kind = found.lastgroup
        if kind == "blank":
            continue
        if kind == "word":
            _check_word(text, found.start(), found.group())
        elif kind == "line":
            _check_comment_end(text, at)
            kind = "comment"
        elif kind == "block":
            kind = "comment"
        elif kind == "punctuation":
            kind = found.group()
        tokens.append(Token(str(kind), found.start(), at))
    return tokens


def _check_comment_end(text: str, at: int) -> None:
    """See that a comment of one line ends by a line feed, or with the text."""
    name = _COMMENT_ENDS.get(text[at : at + 1])
    if name is not None:
        raise unlike(text, at, f"a comment ends here by {name}, and not by a line feed")


def _check_word(text: str, start: int, word: str) -> None:
    """See that a name, a number or a constant is made of what the editor takes for that."""
    for place, character in enumerate(word):
        if character.isascii():
            known = character.isalnum() or character in "_$\\+-."
        else:
            known = character in "\u200c\u200d" or unicodedata.category(character) in _IN_NAMES
        if not known:
            what = "a blank" if character.isspace() else "the character"
            raise unlike(text, start + place, f"{what} U+{ord(character):04X} stands here")
    if word[0] in "+-.0123456789" and _NUMBER.fullmatch(word) is None:
        raise unlike(text, start)


def _compare(text: str, tokens: Sequence[Token]) -> None:
    """
    See that the editor's tokens are these.

    @raise OpenClawError: if one is another.
    """
    theirs = _library_tokens(text)
    for token in tokens:
        theirs_is = next(theirs, None)
        if theirs_is is None or theirs_is.start != token.start:
            raise unlike(text, token.start)
        # a number may be a sign, digits and an exponent, each a token
        while token.kind == "word" and theirs_is.kind == "word" and theirs_is.end < token.end:
            theirs_is = next(theirs, None)
            if theirs_is is None:
                raise unlike(text, token.start)
        if theirs_is.kind != token.kind or theirs_is.end != token.end:
            raise unlike(text, token.start)
    rest = next(theirs, None)
    if rest is not None:
        raise unlike(text, rest.start)


def _library_tokens(text: str) -> Iterator[Token]:
    import json5.tokenizer  # it and what it imports take a tenth of a second
    from json5.utils import JSON5DecodeError

    end = 0
    try:
        for token in json5.tokenizer.tokenize(text):
            end = token.end
            if token.type != "WHITESPACE":
                yield Token(_LIBRARY_KINDS.get(str(token.type), "word"), token.index, token.end)
    except JSON5DecodeError:
        raise unlike(text, end) from None
