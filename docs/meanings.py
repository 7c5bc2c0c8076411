"""
What the generated pages say where the program says nothing, or says it in its own terms.

A key, parameter or method that is not in here is described by its docstring.
"""

from __future__ import annotations

from collections.abc import Mapping

_MODEL = "The model: provider/model, or an object with primary and fallbacks."

KEYS: Mapping[str, str] = {
    "$schema": "For editors; ignored.",
    "gateway.mode": "Without it local; remote has the commands talk to gateway.remote and runs no gateway here.",
    "gateway.port": "TCP port.",
    "gateway.bind": "Interface: this machine only, all, or the address in customBindHost; auto is loopback.",
    "gateway.customBindHost": 'The address for bind "custom".',
    "gateway.auth.mode": "Without it the mode follows from what is set; trusted-proxy is not served yet.",
    "gateway.auth.token": "The shared secret of mode token: whoever has it may do everything.",
    "gateway.auth.password": "The same of mode password.",
    "gateway.http.endpoints.chatCompletions.enabled": "Serve POST /v1/chat/completions and GET /v1/models.",
    "gateway.http.endpoints.responses.enabled": "Serve GET /v1/models; POST /v1/responses is not served yet.",
    "gateway.tls.enabled": "TLS is not served yet, so true is refused.",
    "gateway.reload.mode": '"off" keeps the configuration of the start.',
    "gateway.remote.url": 'Where the gateway of mode "remote" is: wss://host or ws://host:port.',
    "gateway.remote.token": "The token for it.",
    "gateway.remote.password": "The password for it.",
    "logging.consoleLevel": "The same for standard error; without it that of level.",
    "models.mode": "Accepted; there are no built-in providers to merge with.",
    "models.providers.*.baseUrl": "The URL that /chat/completions is appended to.",
    "models.providers.*.apiKey": "Sent as bearer token.",
    "models.providers.*.auth": "How the key came about; api-key and token are served.",
    "models.providers.*.api": "Wire protocol of the server; only openai-completions is served yet.",
    "models.providers.*.headers.*": "A header that is sent with every request.",
    "models.providers.*.timeoutSeconds": "Longest silence of the server, seconds; else 120, in your own network 300.",
    "models.providers.*.maxConcurrent": "Calls at a time, of all runs together; without it any number.",
    "models.providers.*.maxWaitSeconds": "Longest wait of a run for its turn at the server, seconds; then 503.",
    "models.providers.*.request.proxy": "The proxy to the server; a bare string is its URL.",
    "models.providers.*.request.proxy.url": "Such as http://user:password@proxy.example:3128; it beats all variables.",
    "models.providers.*.models": "What is known of single models; others of the server can be used, too.",
    "models.providers.*.models.*.name": "What people see in place of the id.",
    "models.providers.*.models.*.contextTokens": "Accepted; contextWindow counts.",
    "models.providers.*.models.*.maxTokens": "Most tokens of one answer.",
    "models.providers.*.models.*.reasoning": "Whether the model thinks; its earlier reasoning goes back to it.",
    "models.providers.*.models.*.params.*": "A further field of its calls; beaten by what a client asks for.",
    "models.providers.*.params.*": "The same for all models of the provider.",
    "models.local.threads": "Threads of the model's process; without it as many as fit the cores.",
    "agents.ownership": "Accepted; there is one owner.",
    "agents.defaults.model": f"{_MODEL} Without it the embedded one.",
    "agents.defaults.model.primary": "The first choice, provider/model.",
    "agents.defaults.model.fallbacks": "Tried in this order when the first choice fails.",
    "agents.defaults.systemAgent.agentId": "Which of several agents answers requests that name none.",
    "agents.entries.*.name": "What people see in place of the id.",
    "agents.entries.*.description": "What the agent is for.",
    "agents.entries.*.model": f"{_MODEL} It takes the place of the defaults' as a whole, fallbacks included.",
    "agents.entries.*.model.primary": "The first choice, provider/model.",
    "agents.entries.*.model.fallbacks": "Tried in this order; the defaults' do not apply.",
    "agents.entries.*.timeoutSeconds": "Longest run, seconds; 0 means no limit; without it that of the defaults.",
    "agents.entries.*.workspace": "Folder of the agent's files.",
    "agents.list": "The older form of agents.entries.",
    "agents.list.*.id": "The agent's id.",
    "agents.list.*.name": "As in agents.entries.",
    "agents.list.*.description": "As in agents.entries.",
    "agents.list.*.model": "As in agents.entries.",
    "agents.list.*.model.primary": "As in agents.entries.",
    "agents.list.*.model.fallbacks": "As in agents.entries.",
    "agents.list.*.timeoutSeconds": "As in agents.entries.",
    "agents.list.*.workspace": "As in agents.entries.",
    "agents.list.*.default": "As in agents.entries.",
    "env.*": "The same, the shorter way.",
    "env.vars.*": "A variable for ${NAME} that the environment does not have.",
    "session.maintenance.mode": '"warn" only logs what would be done.',
    "session.maintenance.pruneAfter": "A session that was not written for so long is put away; false for never.",
    "session.maintenance.maxEntries": "Beyond so many sessions the oldest are put away.",
    "session.maintenance.maxDiskBytes": "Only in a store that is larger sessions are deleted, oldest first.",
    "session.maintenance.highWaterBytes": "The size at which deleting ends; without it 80 % of maxDiskBytes.",
}
"""Keys of the configuration."""

METHODS: Mapping[str, str] = {
    "agent": "Give an agent a message. Answers twice under one id: when the turn is on disk, and when it is over. "
    "The run outlives its connection.",
    "config.get": "The configuration file and what of it is in force, secrets masked.",
    "health": "How the gateway is: agents, sessions, the delay of its event loop.",
    "logs.tail": "The last lines of the log file, or those since an earlier call.",
    "models.learned": "What servers refused since the start, and is not sent to them any more.",
    "models.list": "The configured models.",
    "status": "What `openclaw status` shows: version, agents, recent sessions, what waits for a restart.",
    "system-presence": "Who is connected, the gateway itself included.",
}
"""Methods."""

_REFUSED = "Not available: a call with it is refused."

PARAMETERS: Mapping[str, str] = {
    "message": "The text of the turn.",
    "agentId": "The agent; the default one otherwise.",
    "sessionKey": "The session: `agent:<id>:<name>`, or a name.",
    "sessionId": "The session by the id that lists show.",
    "thinking": "How much the model shall think: off, minimal, low, medium, high, xhigh.",
    "channel": "Where the conversation takes place, for the agent's prompt.",
    "runId": "The run's id.",
    "timeoutMs": "How long to wait, milliseconds; at most ten minutes.",
    "limit": "Most rows.",
    "offset": "How many rows are left out at the beginning.",
    "search": "Only rows that contain this.",
    "model": "`provider/model` in place of the agent's own; needs `operator.admin`.",
    **dict.fromkeys(
        (
            "attachments",
            "provider",
            "replyTo",
            "replyChannel",
            "replyAccountId",
            "accountId",
            "threadId",
            "groupId",
            "groupChannel",
            "groupSpace",
            "spawnedBy",
            "label",
        ),
        _REFUSED,
    ),
}
"""Parameters of methods whose docstring says nothing of them, and C{timeoutMs} and C{model}."""
