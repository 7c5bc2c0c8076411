"""All secret values that a gateway runs with, so that its log can mask them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from openclaw.config.schema import Config

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:token|password|passwd|secret|api_?keys?|access_?key|private_?key|credentials?)s?(?:$|_)"
)


def secret_values(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """
    The secrets of a configuration, and the values of variables whose names say that they are some.

    @param environ: L{openclaw.config.load.LoadedConfig.environ}; of a list of keys each one is given, too.
    """
    for _, secret in config.secrets():
        if secret.usable:
            yield secret.reveal()
    for name, value in environ.items():
        if _SECRET_NAME.search(name):
            yield value
            if "," in value:
                yield from value.split(",")
