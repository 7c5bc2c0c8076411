"""Configurations for the tests, in the shape that users have them."""

from __future__ import annotations

from typing import Any

TOKEN = "tok-http-1"
PASSWORD = "pw-http-1"
LIMIT = {"maxAttempts": 3, "windowMs": 60000, "lockoutMs": 20000, "exemptLoopback": False}


def provider(**more: Any) -> dict[str, Any]:
    """The least that a provider needs, and C{more}."""
    return {"baseUrl": "http://127.0.0.1:9/v1", **more}


def one_provider(**more: Any) -> dict[str, Any]:
    """A document with the provider C{p}."""
    return {"models": {"providers": {"p": provider(**more)}}}


def auth(**settings: Any) -> dict[str, Any]:
    """A document with C{gateway.auth}."""
    return {"gateway": {"auth": settings}}


def _full() -> dict[str, Any]:
    def model(name: str) -> dict[str, Any]:
        return {
            "id": name,
            "name": name,
            "contextWindow": 200000,
            "maxTokens": 8192,
            "input": ["text", "image"],
            "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
            "reasoning": False,
        }

    return {
        "gateway": {
            "mode": "local",
            "port": 18999,
            "bind": "loopback",
            "auth": {"mode": "token", "token": TOKEN, "rateLimit": dict(LIMIT)},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}, "responses": {"enabled": True}}},
        },
        "models": {
            "providers": {
                "mock": provider(apiKey="x", api="openai-completions", models=[model("m"), model("m2")]),
                "dead": provider(apiKey="x", api="openai-completions", models=[model("d")]),
            }
        },
        "agents": {
            "defaults": {
                "model": {"primary": "mock/m"},
                "skipBootstrap": True,
                "models": {"mock/m": {}, "mock/m2": {}, "dead/d": {}},
            }
        },
    }


def _with(section: str, **settings: Any) -> dict[str, Any]:
    document = _full()
    document[section] = {**document.get(section, {}), **settings}
    return document


def _auth_variant(**settings: Any) -> dict[str, Any]:
    return _with("gateway", auth=settings)


def _http_variant(http: dict[str, Any]) -> dict[str, Any]:
    return _with("gateway", http=http)


def _defaults_variant(**settings: Any) -> dict[str, Any]:
    document = _full()
    document["agents"]["defaults"].update(settings)
    return document


_UNLISTED = _full()
del _UNLISTED["gateway"]["http"]

_MANY = _full()
for _number in range(60):
    _MANY["models"]["providers"][f"e{_number:02d}"] = provider(apiKey="x", api="openai-completions")
    _MANY["agents"]["defaults"]["models"][f"e{_number:02d}/m"] = {}

_PROXY_AUTH = {
    "userHeader": "x-forwarded-user",
    "requiredHeaders": ["x-proxy-ok"],
    "allowUsers": ["alice@example.com"],
    "allowLoopback": True,
}

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "envtoken": {"OPENCLAW_GATEWAY_TOKEN": "tok-env-1"},
    "envpassword": {"OPENCLAW_GATEWAY_PASSWORD": "pw-env-1"},
}
"""What the environment holds besides, for some of L{GOOD}."""

GOOD: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "full": (_full(), "token", TOKEN),
    "password": (_auth_variant(mode="password", password=PASSWORD), "password", PASSWORD),
    "none": (_auth_variant(mode="none"), "none", None),
    "ratedefault": (_auth_variant(mode="token", token=TOKEN), "token", TOKEN),
    "rateproxy": (_with("gateway", trustedProxies=["127.0.0.1"]), "token", TOKEN),
    "disabled": (_UNLISTED, "token", TOKEN),
    "chatonly": (
        _http_variant({"endpoints": {"chatCompletions": {"enabled": True}, "responses": {"enabled": False}}}),
        "token",
        TOKEN,
    ),
    "multi": (
        _with("agents", entries={"main": {}, "research": {"model": {"primary": "mock/m2"}}}),
        "token",
        TOKEN,
    ),
    "embed": (
        _with("memory", search={"provider": "openai", "remote": {"baseUrl": "http://h", "apiKey": "x"}}),
        "token",
        TOKEN,
    ),
    "direct": (_MANY, "token", TOKEN),
    "timeout": (_defaults_variant(timeoutSeconds=5), "token", TOKEN),
    "lane": (_defaults_variant(maxConcurrent=4), "token", TOKEN),
    "origins": (
        _with(
            "gateway",
            controlUi={"allowedOrigins": ["https://gw.example"]},
            http={"cors": {"allowedOrigins": ["https://app.example"]}},
        ),
        "token",
        TOKEN,
    ),
    "metricspublic": (_with("gateway", metrics={"public": True}), "token", TOKEN),
    "reasoning": (
        _http_variant({"endpoints": {"chatCompletions": {"enabled": True, "reasoning": True}}}),
        "token",
        TOKEN,
    ),
    "fallback": (_defaults_variant(model={"primary": "dead/d", "fallbacks": ["mock/m2"]}), "token", TOKEN),
    "envtoken": (_auth_variant(mode="token", rateLimit=dict(LIMIT)), "token", "tok-env-1"),
    "envpassword": (_auth_variant(mode="password", rateLimit=dict(LIMIT)), "password", "pw-env-1"),
    "nomode": (_auth_variant(token=TOKEN), "token", TOKEN),
    "nomodepassword": (_auth_variant(password=PASSWORD), "password", PASSWORD),
}
"""Real configurations: the document, and the mode and secret that follow."""

PROXY = _with("gateway", auth={"mode": "trusted-proxy", "trustedProxy": _PROXY_AUTH}, trustedProxies=["127.0.0.1"])
"""Valid, and not available yet."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "both-secrets": (
        _auth_variant(token=TOKEN, password=PASSWORD),
        'gateway.auth: token and password are both set; say which one counts with mode: "token" or "password"',
    ),
    "lan-noauth": (
        _with("gateway", bind="lan", auth={"mode": "token"}),
        "no credential: run openclaw quickstart, or set OPENCLAW_GATEWAY_TOKEN",
    ),
    "lan-none": (
        _with("gateway", bind="lan", auth={"mode": "none"}),
        'gateway.auth.mode "none" needs gateway.bind "loopback", not "lan": set a token or a password',
    ),
    "bad-type": (
        _with("gateway", port="not a port"),
        'gateway.port: expected a whole number, got a string ("not a port")',
    ),
}
"""Configurations with which the gateway must not start, and why."""
