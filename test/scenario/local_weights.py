"""Where the scenario tests find the embedded model's weights."""

import os
from pathlib import Path

from twisted.trial.unittest import SkipTest

from openclaw.errors import StartError
from openclaw.providers.local_process import library_installed
from openclaw.providers.weights import check_gguf, looks_complete, pull, weights_named, weights_path

MODEL = "smollm2-135m"


def weights_for_tests() -> Path:
    """
    The weights of L{MODEL}: C{OPENCLAW_TEST_WEIGHTS}, or a copy in the user's cache that is fetched once.

    @raise SkipTest: with the reason, if they or xllamacpp cannot be had here.
    """
    if not library_installed():
        raise SkipTest("xllamacpp is not installed: pip install 'openclaw[local]'")
    given = os.environ.get("OPENCLAW_TEST_WEIGHTS")
    if given:
        check_gguf(Path(given), "OPENCLAW_TEST_WEIGHTS")
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openclaw-test"
    if looks_complete(weights_path(cache, MODEL), weights_named(MODEL)):
        return weights_path(cache, MODEL)
    try:
        return pull(weights_named(MODEL), cache, lambda done, total: None)
    except StartError as error:
        raise SkipTest(f"no weights for the embedded model: {error.message}") from None
