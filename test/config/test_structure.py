"""Wrong documents and what is said about them."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.environment import Filled
from openclaw.config.load import parse_config
from openclaw.config.schema import Config
from openclaw.config.structure import bounded, disk_path, shown, structure
from openclaw.errors import ConfigError

from .documents import auth, one_provider, provider

_APIS = (
    '"openai-completions", "openai-responses", "openai-chatgpt-responses", "anthropic-messages", '
    '"google-generative-ai", "google-vertex", "github-copilot", "bedrock-converse-stream", "ollama", "pi-messages", '
    '"azure-openai-responses"'
)
_ORIGIN = 'expected an origin such as https://chat.example (no path, no "*")'
_URL = "expected a URL such as http://127.0.0.1:8080/v1"
_AGENT_ID = "not an agent id: 1 to 64 letters, digits, _ and -, the first a letter or digit"
_BASE = "models.providers.p.baseUrl"
_INF = float("inf")


def _gateway(**settings: Any) -> dict[str, Any]:
    return {"gateway": settings}


def _defaults(**settings: Any) -> dict[str, Any]:
    return {"agents": {"defaults": settings}}


def _entries(**entries: Any) -> dict[str, Any]:
    return {"agents": {"entries": entries}}


WRONG: list[tuple[object, str]] = [
    # the whole document
    ([], "expected an object at the top, got a list"),
    (None, "expected an object at the top, got null"),
    ("gateway", "expected an object at the top, got a string"),
    ({"gatway": {}}, 'unknown key "gatway"; did you mean "gateway"?'),
    ({"chanels": {}}, 'unknown key "chanels"; did you mean "channels"?'),
    ({"zzz": 1}, 'unknown key "zzz"'),
    ({"$schema": 1}, "$schema: expected a string, got a number (1)"),
    ({"$include": "x.json"}, "$include: not available yet; put the settings of that file in its place"),
    (
        {"agents": {"list": [{"$include": "x", "id": "a"}]}},
        "agents.list.0.$include: not available yet; put the settings of that file in its place",
    ),
    # gateway
    (_gateway(foo=1), 'gateway: unknown key "foo"'),
    (_gateway(prot=1), 'gateway: unknown key "prot"; did you mean "port"?'),
    ({"gateway": []}, "gateway: expected an object, got a list"),
    ({"gateway": None}, "gateway: expected an object, got null"),
    (_gateway(port="not a port"), 'gateway.port: expected a whole number, got a string ("not a port")'),
    (_gateway(port=3.9), "gateway.port: expected a whole number, got a number (3.9)"),
    (_gateway(port=True), "gateway.port: expected a whole number, got true"),
    (_gateway(port=None), "gateway.port: expected a whole number, got null"),
    (_gateway(port=[1]), "gateway.port: expected a whole number, got a list"),
    (_gateway(port=_INF), "gateway.port: expected a whole number, got a number (inf)"),
    (_gateway(port=0), "gateway.port: must be between 1 and 65535, got 0"),
    (_gateway(port=65536), "gateway.port: must be between 1 and 65535, got 65536"),
    (_gateway(port=10**50), "gateway.port: must be between 1 and 65535, got a very large one"),
    (_gateway(port="${TOK}"), 'gateway.port: expected a whole number, got a string ("${TOK}")'),
    (
        _gateway(port={"source": "env", "id": "TOK"}),
        'gateway.port: expected a whole number, got a string ("<environment variable TOK>")',
    ),
    (
        _gateway(bind="lann"),
        'gateway.bind: expected one of "auto", "loopback", "lan", "tailnet", "custom", got a string ("lann")',
    ),
    (_gateway(bind="custom"), 'gateway.customBindHost: required when gateway.bind is "custom"'),
    (
        _gateway(customBindHost="my.host"),
        'gateway.customBindHost: expected an IP address of this machine, got "my.host"',
    ),
    (
        _gateway(customBindHost="${TOK}"),
        'gateway.customBindHost: expected an IP address of this machine, got "${TOK}"',
    ),
    (_gateway(mode="locl"), 'gateway.mode: expected one of "local", "remote", got a string ("locl")'),
    (_gateway(trustedProxies="10.0.0.1"), "gateway.trustedProxies: expected a list, got a string"),
    (
        _gateway(trustedProxies=["10.0.0.1", "nope"]),
        'gateway.trustedProxies.1: expected an IP address or a network such as 10.0.0.0/8, got "nope"',
    ),
    (
        _gateway(controlUi={"allowedOrigins": ["*"]}),
        f'gateway.controlUi.allowedOrigins.0: {_ORIGIN}, got "*"',
    ),
    (
        _gateway(http={"cors": {"allowedOrigins": ["https://a.example/x"]}}),
        f'gateway.http.cors.allowedOrigins.0: {_ORIGIN}, got "https://a.example/x"',
    ),
    (
        _gateway(http={"endpoints": {"chatCompletions": {"enabled": "false"}}}),
        'gateway.http.endpoints.chatCompletions.enabled: expected true or false, got a string ("false")',
    ),
    (_gateway(metrics={"public": 1}), "gateway.metrics.public: expected true or false, got a number (1)"),
    (_gateway(shutdownDrainMs=-1), "gateway.shutdownDrainMs: must be between 0 and 3600000, got -1"),
    (
        _gateway(reload={"mode": "hot"}),
        'gateway.reload.mode: expected one of "hybrid", "off", got a string ("hot")',
    ),
    (
        _gateway(tls={"enabled": True}),
        "gateway.tls.enabled: TLS is not available yet; let a proxy on this machine serve it",
    ),
    # gateway.auth
    (_gateway(auth="tok-secret"), "gateway.auth: expected an object, got a string"),
    (auth(token=5), "gateway.auth.token: expected a string or a secret reference, got a number"),
    (auth(token={"a": 1}), "gateway.auth.token: expected a string or a secret reference, got an object"),
    (
        auth(password={"source": "file", "provider": "f", "id": "/x"}),
        'gateway.auth.password: a secret reference with source "file" is not available yet; use source "env"',
    ),
    (
        auth(token={"source": "env", "id": "lower"}),
        'gateway.auth.token: expected a secret reference {source: "env", id: "NAME"} '
        "with a NAME like [A-Z][A-Z0-9_]{0,127}",
    ),
    (auth(token="\ud800"), "gateway.auth.token: holds half a surrogate pair, which is no character"),
    (
        auth(mode="tokn"),
        'gateway.auth.mode: expected one of "none", "token", "password", "trusted-proxy", got a string ("tokn")',
    ),
    (auth(mode="trusted-proxy"), 'gateway.auth.trustedProxy: required when gateway.auth.mode is "trusted-proxy"'),
    (auth(trustedProxy={}), "gateway.auth.trustedProxy.userHeader: required, and missing"),
    (
        auth(rateLimit={"maxAttempts": 0}),
        "gateway.auth.rateLimit.maxAttempts: must be between 1 and 1000000000, got 0",
    ),
    (
        auth(rateLimit={"windowMs": "1m"}),
        'gateway.auth.rateLimit.windowMs: expected a whole number, got a string ("1m")',
    ),
    # models
    ({"models": {"providers": {"p": {}}}}, f"{_BASE}: required, and missing"),
    ({"models": {"providers": []}}, "models.providers: expected an object, got a list"),
    (
        {"models": {"providers": {"a/b": provider()}}},
        'models.providers.a/b: a provider\'s name must not hold "/"',
    ),
    (
        {"models": {"providers": {"local": provider()}}},
        "models.providers.local: this name is reserved for the embedded model; see models.local",
    ),
    (
        {"models": {"providers": {"": provider()}}},
        "models.providers: a provider's name must not be empty or have blanks around it",
    ),
    (
        {"models": {"providers": {"a b\n": {"baseUrl": 5}}}},
        'models.providers["a b\\n"].baseUrl: expected a string, got a number (5)',
    ),
    (one_provider(baseUrl="ftp://h"), f"{_BASE}: {_URL}"),
    (one_provider(baseUrl="http://[::1"), f"{_BASE}: {_URL}"),
    (one_provider(baseUrl="http://h:99999"), f"{_BASE}: {_URL}"),
    (one_provider(baseUrl="http://h/v1?key=s"), f"{_BASE}: {_URL}, without ? and #"),
    (one_provider(baseUrl="http://u:pw@h"), f"{_BASE}: must not hold a user name or password; use apiKey or headers"),
    (
        one_provider(api="anthropic-messages"),
        'models.providers.p.api: "anthropic-messages" is not available yet; available: openai-completions',
    ),
    (one_provider(api="foo"), f'models.providers.p.api: expected one of {_APIS}, got a string ("foo")'),
    (one_provider(auth="oauth"), 'models.providers.p.auth: "oauth" is not available yet; use "api-key"'),
    (
        one_provider(headers={"a b": "x"}),
        'models.providers.p.headers["a b"]: expected the name of an HTTP header, got "a b"',
    ),
    (
        one_provider(headers={"X-Key": 3}),
        "models.providers.p.headers.X-Key: expected a string or a secret reference, got a number",
    ),
    (
        one_provider(timeoutSeconds="5"),
        'models.providers.p.timeoutSeconds: expected a number, got a string ("5")',
    ),
    (
        one_provider(timeoutSeconds=10**400),
        "models.providers.p.timeoutSeconds: expected a number, got a number (a very large one)",
    ),
    (one_provider(models=[{"id": " "}]), 'models.providers.p.models.0.id: must not be empty, got " "'),
    (one_provider(models=[{"id": "a"}, {"id": "a"}]), 'models.providers.p.models.1.id: a second model "a"'),
    (
        one_provider(models=[{"id": "a", "api": "ollama"}]),
        'models.providers.p.models.0.api: "ollama" is not available yet; available: openai-completions',
    ),
    (
        one_provider(models=[{"id": "a", "baseUrl": "http://h"}]),
        "models.providers.p.models.0.baseUrl: a URL for one model is not available yet; make it a provider of its own",
    ),
    ({"models": {"local": {"parallel": 0}}}, "models.local.parallel: must be between 1 and 64, got 0"),
    # agents
    (_defaults(model="gpt"), 'agents.defaults.model: expected a model as "provider/model", got "gpt"'),
    (_defaults(model=3), "agents.defaults.model: expected a string or an object, got a number"),
    (_defaults(model={"fallbacks": []}), "agents.defaults.model.primary: required, and missing"),
    (
        _defaults(model={"primary": "a/b", "fallbacks": ["a/c", "/d"]}),
        'agents.defaults.model.fallbacks.1: expected a model as "provider/model", got "/d"',
    ),
    (_defaults(timeoutSeconds=-1), "agents.defaults.timeoutSeconds: must be between 0 and 31536000, got -1"),
    (
        _defaults(systemAgent={"agentId": "x"}),
        'agents.defaults.systemAgent.agentId: there is no agent "x"',
    ),
    (_entries(A={}, a={}), 'agents.entries.a: the agent "a" is already named by agents.entries.A'),
    (_entries(**{"a b": {}}), f'agents.entries["a b"]: {_AGENT_ID}'),
    (_entries(a={"modl": "x/y"}), 'agents.entries.a: unknown key "modl"; did you mean "model"?'),
    (
        {"agents": {"entries": {"a": {}}, "list": [{"id": "A"}]}},
        'agents.list.0.id: the agent "a" is already named by agents.entries.a',
    ),
    ({"agents": {"list": [{"name": "x"}]}}, "agents.list.0.id: required, and missing"),
    ({"agents": {"list": {"id": "x"}}}, "agents.list: expected a list, got an object"),
    (
        {"agents": {"list": [{"id": "a", "default": True}, {"id": "b", "default": True}]}},
        "agents: only one agent can have default: true; these have it: a, b",
    ),
    # env
    ({"env": []}, "env: expected an object, got a list"),
    ({"env": {"vars": []}}, "env.vars: expected an object, got a list"),
    ({"env": {"vars": {"a b": "x"}}}, 'env.vars["a b"]: expected the name of an environment variable, got "a b"'),
    ({"env": {"N": 5}}, "env.N: expected a string or a secret reference, got a number"),
]


class Broken:
    """A check with a bug."""

    private = False

    def fault(self, value: object) -> str | None:
        """Fail."""
        raise ZeroDivisionError


@attrs.frozen
class Record:
    """Uses it."""

    value: Annotated[int, Broken()]


class WrongDocumentTests(SynchronousTestCase):
    """Each wrong document gives its exact problem."""

    def test_table(self) -> None:
        """One document, one problem."""
        self.assertGreater(len(WRONG), 40)
        for document, problem in WRONG:
            error = self.assertRaises(ConfigError, parse_config, document, {"TOK": "very-secret"})
            self.assertEqual((problem,), error.problems, repr(document)[:200])

    def test_all_at_once(self) -> None:
        """Problems of all sections and all kinds are named together."""
        document = {
            "gateway": {"port": "x", "bind": "custom", "foo": 1, "$include": "y"},
            "models": {"providers": {"p": {"baseUrl": "nope", "api": 1}, "a/b": provider()}},
            "agents": {"entries": {"-": {}, "b": {"model": "m"}}},
            "hoks": {},
        }
        error = self.assertRaises(ConfigError, parse_config, document, {})
        self.assertEqual(
            {
                'unknown key "hoks"; did you mean "hooks"?',
                "gateway.$include: not available yet; put the settings of that file in its place",
                'gateway.port: expected a whole number, got a string ("x")',
                'gateway: unknown key "foo"',
                f"{_BASE}: {_URL}",
                f"models.providers.p.api: expected one of {_APIS}, got a number (1)",
                'agents.entries.b.model: expected a model as "provider/model", got "m"',
            },
            set(error.problems),
        )

    def test_five_errors(self) -> None:
        """Five errors are five lines."""
        document = {
            "gateway": {"port": 0, "auth": {"mode": "x", "token": 1}},
            "models": {"mode": "y"},
            "agents": {"defaults": {"maxConcurrent": 0}},
        }
        error = self.assertRaises(ConfigError, parse_config, document, {})
        self.assertEqual(5, len(error.problems))

    def test_problems_are_bounded(self) -> None:
        """A document with thousands of problems gives a hundred, and the count of the rest."""
        document = {"gateway": {f"key{number}": 1 for number in range(5000)}}
        error = self.assertRaises(ConfigError, parse_config, document, {})
        self.assertEqual(101, len(error.problems))
        self.assertEqual("and 4900 more problems", error.problems[-1])
        self.assertEqual(["a"], bounded(["a"]))

    def test_nesting_is_bounded(self) -> None:
        """A document that holds itself is refused, not walked for ever."""
        document: dict[str, Any] = {}
        document["gateway"] = document
        error = self.assertRaises(ConfigError, parse_config, document, {})
        self.assertEqual(("gateway.gateway.gateway.gateway: nested too deeply; at most 64 levels",), error.problems)

    def test_whole_floats(self) -> None:
        """JSON has one kind of number: 1e3 is a whole one."""
        config, _ = parse_config({"gateway": {"port": 1e3}}, {})
        self.assertIs(int, type(config.gateway.port))
        self.assertEqual(1000, config.gateway.port)

    def test_plain_types(self) -> None:
        """What came out of the environment is a plain string."""
        config, _ = parse_config(one_provider(baseUrl="http://${H}/v1/"), {"H": "host"})
        self.assertIs(str, type(config.models.providers["p"].base_url))
        self.assertEqual("http://host/v1", config.models.providers["p"].base_url)
        chosen, _ = parse_config({"gateway": {"bind": "${B}"}}, {"B": "lan"})
        self.assertIs(str, type(chosen.gateway.bind))


class ShownTests(SynchronousTestCase):
    """How values and paths are shown."""

    def test_shown(self) -> None:
        """Each kind of value; a private one by its kind alone."""
        for value, text in [
            (None, "null"),
            (False, "false"),
            ("a\x1b[2J", 'a string ("a\\u001b[2J")'),
            ("\ud800", 'a string ("\\ud800")'),
            ("x" * 100, 'a string ("' + "x" * 59 + '…")'),
            (1.5, "a number (1.5)"),
            ((), "a list"),
            ({}, "an object"),
            (object(), "something else"),
            (Filled.make("secret", written="${X}"), 'a string ("${X}")'),
        ]:
            self.assertEqual(text, shown(value))
        self.assertEqual("a string", shown("secret", private=True))

    def test_disk_path(self) -> None:
        """Keys that are no names are quoted; empty parts are left out."""
        self.assertEqual('a.0["b.c"].d', disk_path(("a", "", "0", "b.c", "d")))
        self.assertEqual('["a b"]', disk_path(("a b",)))

    def test_defaults(self) -> None:
        """An empty document gives the defaults."""
        self.assertEqual(Config(), structure({}, Config))

    def test_root_value(self) -> None:
        """A wrong root has no path."""
        error = self.assertRaises(ConfigError, structure, 3, Config)
        self.assertEqual(("expected an object, got a number",), error.problems)

    def test_bug_is_not_a_problem(self) -> None:
        """An exception that is nobody's wrong value is raised as it is."""
        self.assertRaises(ZeroDivisionError, structure, {"value": 1}, Record)
