"""The section C{env}: variables for C{${NAME}} that the environment does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import attrs

from openclaw.config.checks import matching
from openclaw.config.secret import Secret

VARIABLE_NAME = matching(r"[A-Za-z_][A-Za-z0-9_]*", "expected the name of an environment variable")
"""The name of an environment variable."""

Variables = Mapping[Annotated[str, VARIABLE_NAME], Secret]
"""Values by name; hidden, because they mostly are keys."""


@attrs.frozen
class EnvConfig:
    """
    C{env}.

    @ivar vars: a variable for C{${NAME}} that the environment does not have.
    @ivar bare: a variable, as in C{env.vars}; the shorter way.
    """

    vars: Variables = attrs.field(factory=dict)
    bare: Variables = attrs.field(factory=dict, metadata={"disk": ""})

    def values(self) -> dict[str, str]:
        """All values that are known, those of C{vars} first."""
        secrets = {**self.bare, **self.vars}
        return {name: secret.reveal() for name, secret in secrets.items() if secret.usable}


def regrouped(section: Mapping[str, Any]) -> dict[str, Any]:
    """Move what stands in C{env} itself into a group of its own, which is what L{EnvConfig} expects."""
    bare = {key: value for key, value in section.items() if key != "vars"}
    return {"vars": section.get("vars", {}), "": bare}
