"""
From a document (dicts, lists, strings, numbers) to frozen values, strictly and with all errors at once.

cattrs does the walking; every hook that it would use for a plain value is replaced, because its own turn C{"false"}
into C{True}, C{3.9} into C{3} and a string into a list of letters.  Errors carry the names that stand on disk.

A class can have, besides its fields:

 - C{shorthand}: the name of the field that a bare string stands for;
 - C{settled(problem)}: checks across fields; returns the value to use and tells problems by
   C{problem(path below this class, text)}.

A field's C{metadata["disk"]} is its name on disk where that is not its own name in camelCase; C{""} makes the field
part of its parent in error messages.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import AttributeValidationNote, ClassValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from openclaw.config.amounts import Duration, Size
from openclaw.config.environment import ENV_ID, Filled
from openclaw.config.secret import Secret
from openclaw.errors import ConfigError
from openclaw.wire import LONE_SURROGATE

MAX_PROBLEMS = 100
"""Most problems that are listed of one document."""

_LONGEST_SHOWN = 60
_LARGEST_SHOWN = 10**40
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$@:/*-]+")

T = TypeVar("T")
Path = tuple[str, ...]
Hook = Callable[[Any, Any], Any]


class WrongValue(ValueError):
    """One value is wrong; the text follows the key's name."""


class WrongParts(ValueError):
    """
    Parts of one value are wrong.

    @ivar parts: the path below the value, and the error there.
    """

    def __init__(self, parts: Iterable[tuple[Path, Exception]]) -> None:
        super().__init__("wrong parts")
        self.parts = tuple(parts)


def disk_name(field: attrs.Attribute[Any]) -> str:
    """The name of a field on disk: C{rate_limit} is C{rateLimit}."""
    given = field.metadata.get("disk")
    if given is not None:
        return str(given)
    head, *tail = field.name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def disk_path(path: Path) -> str:
    """A path as it is shown: C{gateway.port}, C{agents.list.0.id}, C{models.providers["a b"].api}."""
    text = ""
    for part in path:
        if not part:
            continue
        if _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{quoted(part)}]"
    return text


def quoted(text: str) -> str:
    """A string as it is shown: in double quotes, shortened, without anything that a terminal would obey."""
    short = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
    return "".join(
        char if char.isprintable() else json.dumps(char)[1:-1] for char in json.dumps(short, ensure_ascii=False)
    )


def shown(value: object, *, private: bool = False) -> str:
    """
    A value as an error shows it.

    @param private: name only its type: the value may be a secret that stands in the wrong place.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            kind, text = "a string", quoted(value.written if isinstance(value, Filled) else value)
        case float():
            kind, text = "a number", repr(value)
        case int():
            # Python refuses to write out a number of thousands of digits
            kind, text = "a number", f"{value:d}" if abs(value) < _LARGEST_SHOWN else "a very large one"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return "something else"
    return kind if private else f"{kind} ({text})"


def _refuse(expected: str, value: object, *, private: bool = False) -> NoReturn:
    raise WrongValue(f"expected {expected}, got {shown(value, private=private)}")


# ---------------------------------------------------------------------------------------- plain values


def _boolean(value: object, _: object) -> bool:
    if isinstance(value, bool):
        return value
    _refuse("true or false", value)


def _whole_number(value: object, _: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)  # JSON has one kind of number: 1e3 and 1000.0 are whole
    _refuse("a whole number", value)


def _number(value: object, _: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    _refuse("a number", value)


def _string(value: object, _: object) -> str:
    if isinstance(value, str):
        _check_text(value)
        return str(value)
    _refuse("a string", value)


def _check_text(value: str) -> None:
    if LONE_SURROGATE.search(value):
        raise WrongValue("holds half a surrogate pair, which is no character")


def _amount(kind: Any) -> Hook:
    """A duration or a size; see L{openclaw.config.amounts}."""

    def structure(value: object, _: object) -> Any:
        try:
            return kind.parse(value)
        except ValueError as error:
            raise WrongValue(f"{error}, got {shown(value)}") from None

    return structure


def _secret(value: object, _: object) -> Secret:
    if isinstance(value, Filled):
        return Secret(str(value), literal=False, reference=value.reference, missing=value.missing)
    if isinstance(value, str):
        _check_text(value)
        return Secret(value)
    if isinstance(value, dict) and isinstance(value.get("source"), str):
        source = value["source"]
        if source == "env":
            raise WrongValue(
                f'expected a secret reference {{source: "env", id: "NAME"}} with a NAME like {ENV_ID.pattern}'
            )
        raise WrongValue(f'a secret reference with source {quoted(source)} is not available yet; use source "env"')
    _refuse("a string or a secret reference", value, private=True)


# ---------------------------------------------------------------------------------------- compound types


def _literal(kind: Any) -> Hook:
    choices = get_args(kind)
    listed = ", ".join(quoted(choice) for choice in choices)

    def structure(value: object, _: object) -> Any:
        if isinstance(value, str) and value in choices:
            return str(value)
        _refuse(f"one of {listed}" if len(choices) > 1 else listed, value)

    return structure


class _Hooks:
    """Makes the hooks of compound types, which need the converter for what they hold."""

    def __init__(self, converter: Converter) -> None:
        self._converter = converter

    def optional(self, kind: Any) -> Hook:
        """C{X | None}: absent or X; a null in the file is neither."""
        (inner,) = (one for one in get_args(kind) if one is not type(None))
        return lambda value, _: self._converter.structure(value, inner)

    def checked(self, kind: Any) -> Hook:
        """C{Annotated[X, check, ...]}."""
        inner, *checks = get_args(kind)

        def structure(value: object, _: object) -> Any:
            result = self._converter.structure(value, inner)
            for check in checks:
                fault = check.fault(result)
                if fault is not None:
                    got = shown(value).partition(" (")[2][:-1]
                    raise WrongValue(fault if check.private else f"{fault}, got {got}")
            return result

        return structure

    def sequence(self, kind: Any) -> Hook:
        """C{tuple[X, ...]} from a list."""
        inner = get_args(kind)[0]

        def structure(value: object, _: object) -> tuple[Any, ...]:
            if not isinstance(value, list):
                _refuse("a list", value, private=True)
            errors: list[tuple[Path, Exception]] = []
            results = self._all(((str(index), item) for index, item in enumerate(value)), inner, errors)
            if errors:
                raise WrongParts(errors)
            return tuple(results.values())

        return structure

    def mapping(self, kind: Any) -> Hook:
        """C{Mapping[str, X]} or C{Mapping[Annotated[str, check], X]} from an object."""
        key_kind, inner = get_args(kind)

        def structure(value: object, _: object) -> dict[str, Any]:
            if not isinstance(value, dict):
                _refuse("an object", value, private=True)
            errors: list[tuple[Path, Exception]] = []
            self._all(((str(key), str(key)) for key in value), key_kind, errors)
            results = self._all(((str(key), item) for key, item in value.items()), inner, errors)
            if errors:
                raise WrongParts(errors)
            return results

        return structure

    def _all(
        self, items: Iterable[tuple[str, object]], inner: Any, errors: list[tuple[Path, Exception]]
    ) -> dict[str, Any]:
        """Structure each item; what is wrong with any is added to C{errors}."""
        results: dict[str, Any] = {}
        for name, item in items:
            try:
                results[name] = self._converter.structure(item, inner)
            except (WrongValue, WrongParts, ClassValidationError) as error:
                errors.append(((name,), error))
        return results

    def record(self, cls: Any) -> Hook:
        """An attrs class from an object; see the module's docstring."""
        renames: Any = {field.name: override(rename=disk_name(field)) for field in attrs.fields(cls)}
        from_object = make_dict_structure_fn(
            cls, self._converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **renames
        )
        shorthand: str | None = getattr(cls, "shorthand", None)
        settled = getattr(cls, "settled", None)

        def structure(value: object, _: object) -> Any:
            if shorthand is not None and isinstance(value, str):
                try:
                    record = from_object({shorthand: value}, cls)
                except ClassValidationError as error:
                    # the value stands in its record's own place
                    raise WrongParts(((), part) for part in error.exceptions) from None
            elif isinstance(value, dict):
                record = from_object(value, cls)
            else:
                expected = "an object" if shorthand is None else "a string or an object"
                _refuse(expected, value, private=True)
            if settled is None:
                return record
            problems: list[tuple[Path, Exception]] = []
            record = settled(record, lambda path, text: problems.append((path, WrongValue(text))))
            if problems:
                raise WrongParts(problems)
            return record

        return structure


@functools.cache
def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    hooks = _Hooks(converter)
    plain: Mapping[Any, Hook] = {bool: _boolean, int: _whole_number, float: _number, str: _string, Secret: _secret}
    compound: Mapping[Any, Callable[[Any], Hook]] = {
        Literal: _literal,
        Union: hooks.optional,
        types.UnionType: hooks.optional,
        Annotated: hooks.checked,
        tuple: hooks.sequence,
        Mapping: hooks.mapping,
    }
    converter.register_structure_hook_factory(attrs.has, hooks.record)
    converter.register_structure_hook_factory(
        lambda kind: get_origin(kind) in compound, lambda kind: compound[get_origin(kind)](kind)
    )
    for kind, hook in {**plain, Duration: _amount(Duration), Size: _amount(Size)}.items():
        converter.register_structure_hook(kind, hook)
    return converter


# ---------------------------------------------------------------------------------------- errors


def _unknown_keys(error: ForbiddenExtraKeysError, known: Callable[[Path], Iterable[str]], path: Path) -> list[str]:
    names = {disk_name(field) for field in attrs.fields(error.cl)} | set(known(path))
    where = disk_path(path)
    lines = []
    for number, key in enumerate(sorted(map(str, error.extra_fields))):
        # what comes after the first hundred is not shown; a search for each of 100,000 keys would take minutes
        candidates = sorted(names - {""}) if number < MAX_PROBLEMS else []
        close = difflib.get_close_matches(key, candidates, n=1, cutoff=0.75)
        hint = f"; did you mean {quoted(close[0])}?" if close else ""
        lines.append(f"{where}: unknown key {quoted(key)}{hint}" if where else f"unknown key {quoted(key)}{hint}")
    return lines


def _lines(error: BaseException, known: Callable[[Path], Iterable[str]], path: Path) -> list[str]:
    """The problems that an error of the converter tells."""
    match error:
        case WrongParts():
            return [line for below, part in error.parts for line in _lines(part, known, path + below)]
        case ForbiddenExtraKeysError():
            return _unknown_keys(error, known, path)
        case ClassValidationError():
            names = {field.name: disk_name(field) for field in attrs.fields(error.cl)}
            lines = []
            for part in error.exceptions:
                notes = [note for note in getattr(part, "__notes__", ()) if isinstance(note, AttributeValidationNote)]
                lines += _lines(part, known, path + tuple(names[note.name] for note in notes[:1]))
            return lines
        case WrongValue():
            return [f"{disk_path(path)}: {error}" if disk_path(path) else str(error)]
        case KeyError():
            return [f"{disk_path(path)}: required, and missing"]
    raise error


def structure(document: object, cls: type[T], known: Callable[[Path], Iterable[str]] = lambda _: ()) -> T:
    """
    Turn a document into a value.

    @param known: names that may stand at a path besides the fields, to be suggested for misspelt ones.
    @raise ConfigError: with one line for each problem; L{bounded} shortens them.
    """
    try:
        return _converter().structure(document, cls)
    except (WrongValue, WrongParts, ClassValidationError) as error:
        raise ConfigError(_lines(error, known, ())) from None


def bounded(problems: list[str]) -> list[str]:
    """At most L{MAX_PROBLEMS} lines, and one more that counts the rest."""
    if len(problems) <= MAX_PROBLEMS:
        return problems
    return [*problems[:MAX_PROBLEMS], f"and {len(problems) - MAX_PROBLEMS} more problems"]
