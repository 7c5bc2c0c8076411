"""A value that must not be shown."""

from __future__ import annotations

import attrs


@attrs.frozen(repr=False)
class Secret:
    """
    A password, token or key.  Its C{repr} and C{str} hide it; two are equal if their values are.

    Do not compare a caller's guess with C{==}: that is not constant in time.

    @ivar literal: the value stands as such in the configuration, not behind C{${NAME}} or a secret reference.
    @ivar reference: it was given as a secret reference, an object with C{source} and C{id}.
    @ivar missing: the environment variables that the value needs and that are not set; then it is no secret yet.
    """

    _value: str
    literal: bool = attrs.field(default=True, eq=False, kw_only=True)
    reference: bool = attrs.field(default=False, eq=False, kw_only=True)
    missing: tuple[str, ...] = attrs.field(default=(), eq=False, kw_only=True)

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    @property
    def usable(self) -> bool:
        """False if the value is blank or needs an environment variable that is not set."""
        return not self.missing and bool(self._value.strip())

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__
