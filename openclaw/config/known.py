"""
The original's settings that we accept and do not use.

The facts are those of the schema of the npm package C{openclaw} 2026.9.6 (C{openclaw config schema}).  A setting
moves from here to a field when something uses it.  C{*} stands for any name and any place in a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SILENT = frozenset({"meta", "wizard"})
"""Root sections that the original's own programs write about themselves: accepted, and not worth a warning."""

_AGENT = """
    agentDir bootstrapMaxChars bootstrapTotalMaxChars contextInjection contextLimits cwd decisionModel embeddedAgent
    experimental fastModeDefault groupChat heartbeat humanDelay identity memory modelPolicy models params
    reasoningDefault runtime sandbox skills skillsLimits subagents thinkingDefault toolProgressDetail tools tts
    typingMode utilityModel verboseDefault
"""

UNUSED: Mapping[str, frozenset[str]] = {
    path: frozenset(names.split())
    for path, names in {
        "": """
            accessGroups acp approvals attachments auth bindings broadcast browser channels cloudWorkers commands cron
            desktop diagnostics discovery hooks mcp memory messages meta nodeHost plugins proxy secrets security
            skills surfaces talk telemetry tools transcripts tts ui update wizard worktreeAcceleration
            worktreeRoot
        """,
        "env": "shellEnv",
        "logging": "audit file redactSensitive",
        "session": """
            dmScope groupScope identityLinks mainKey notifyOnCreate reset resetByChannel resetByType resetTriggers scope
            sendPolicy sharing store threadBindings
        """,
        "session.maintenance": "archiveDashboardAfter coldStorage preserveRecent resetArchiveRetention",
        "gateway": """
            allowRealIpFallback cliAgents nodes portals publicOrigin push roles tailscale terminal tools
        """,
        "gateway.auth": "allowTailscale identityScopes",
        "gateway.auth.trustedProxy": "cloudflareAccessOidc deviceAutoApprove",
        "gateway.controlUi": """
            allowExternalEmbedUrls automaticallyFetchFavicons basePath communityInvite
            dangerouslyAllowHostHeaderOriginFallback dangerouslyDisableDeviceAuth embedSandbox enabled environment
            experimental github root sessionObserver
        """,
        "gateway.tls": "autoGenerate caPath certPath keyPath",
        "gateway.remote": """
            edgeAuth remotePort sshHostKeyPolicy sshIdentity sshTarget tlsFingerprint transport
        """,
        "gateway.http": "securityHeaders",
        "gateway.http.endpoints.chatCompletions": "images",
        "gateway.http.endpoints.responses": "files images maxUrlParts",
        "models": "catalogRefresh",
        "models.providers.*": """
            agentRuntime region
        """,
        "models.providers.*.request": "allowPrivateNetwork",
        "models.providers.*.models.*": """
            agentRuntime cost mediaInput metadataSource
        """,
        "models.providers.*.models.*.compat": """
            cacheControlFormat codeMode requiresOpenAiAnthropicToolPayload sendSessionAffinityHeaders
            supportsEagerToolInputStreaming supportsInstructions supportsJsonSchemaResponseFormat
            supportsLongCacheRetention supportsPromptCacheKey supportsResponsesContinuation supportsStrictMode
            toolCallArgumentsEncoding unsupportedToolSchemaKeywords visibleReasoningDetailTypes zaiToolStream
        """,
        "agents.defaults": """
            authInheritance blockStreamingBreak blockStreamingChunk blockStreamingCoalesce blockStreamingDefault
            bootstrapMaxChars bootstrapTotalMaxChars compaction contextInjection contextLimits contextPruning cwd
            decisionModel elevatedDefault embeddedAgent experimental fastModeDefault heartbeat humanDelay
            imageMaxDimensionPx imageModel imageQuality mediaMaxMb mediaModels modelPolicy modelSelectionScope models
            params pdfMaxMb pdfMaxPages pdfModel reasoningDefault repoRoot sandbox sessionStore silentReply
            skipBootstrap skipOptionalBootstrapFiles skills startupContext subagents thinkingDefault toolProgressDetail
            typingIntervalSeconds typingMode userTimezone utilityModel verboseDefault voiceModel
        """,
        "agents.entries.*": _AGENT,
        "agents.list.*": _AGENT,
    }.items()
}
"""The names that are accepted at each place, besides the fields of the classes."""

_OPEN = frozenset({"models.providers", "models.providers.*.models", "agents.entries", "agents.list"})


def pattern_of(path: Iterable[str]) -> str:
    """The place in L{UNUSED} that a path means: C{models.providers.acme} is C{models.providers.*}."""
    pattern = ""
    for part in path:
        pattern = f"{pattern}.*" if pattern in _OPEN else f"{pattern}.{part}" if pattern else part
    return pattern


def names_at(path: Iterable[str]) -> frozenset[str]:
    """The names that are accepted and not used at a path."""
    return UNUSED.get(pattern_of(path), frozenset())


def without_unused(value: object, path: str = "") -> tuple[Any, list[str]]:
    """
    Take the settings that are not used out of a document.

    @param path: where C{value} stands, in the form of L{pattern_of}.
    @return: the document without them, and their names, each once, without those of L{SILENT}.
    """
    names: list[str] = []
    if isinstance(value, dict):
        unused = UNUSED.get(path, frozenset())
        kept: Any = {}
        for key, item in value.items():
            below = f"{path}.*" if path in _OPEN else f"{path}.{key}" if path else str(key)
            if key in unused:
                names += [] if below in SILENT else [below]
            else:
                kept[key], found = _descend(item, below)
                names += found
    elif isinstance(value, list) and path in _OPEN:
        pairs = [_descend(item, f"{path}.*") for item in value]
        kept = [item for item, _ in pairs]
        names = [name for _, found in pairs for name in found]
    else:
        return value, []
    return kept, list(dict.fromkeys(names))


def _descend(value: object, path: str) -> tuple[Any, list[str]]:
    """Go on where something is listed at this place or below it."""
    deeper = path in _OPEN or any(place == path or place.startswith(f"{path}.") for place in UNUSED)
    return without_unused(value, path) if deeper else (value, [])
