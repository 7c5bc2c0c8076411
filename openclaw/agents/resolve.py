"""
From what a client said to the agent, the session and the model that serve it.

Plain functions without state; the rules are those of C{docs/http-api.md}, section "Choosing agent, model, session".
"""

from __future__ import annotations

import attrs

from openclaw.config.schema import Config
from openclaw.errors import ModelNotFound
from openclaw.ids import SessionKey, check_client_key_text, client_session_key, normalise_agent_id
from openclaw.sessions.keys import KeySource

MODEL_ALIAS = "openclaw"
"""The model name that means the default agent."""

UNKEPT_CHATS = ("temporary:", "local:")
"""How the ids of chats begin whose user does not want them kept, in Open WebUI."""


@attrs.frozen
class Selection:
    """
    The parts of a request that choose agent, model and session, as the client sent them: C{model}, C{user} and others.

    @ivar agent_id: the C{x-openclaw-agent-id} header.
    @ivar session_key: the C{x-openclaw-session-key} header.
    @ivar chat_id: the id of a chat in the client's user interface, with the header that it came from.
    @ivar metadata_session_id: C{metadata.session_id}.
    @ivar model_override: the C{x-openclaw-model} header.
    """

    model: str | None = None
    agent_id: str | None = None
    session_key: str | None = None
    chat_id: tuple[str, str] | None = None
    metadata_session_id: str | None = None
    user: str | None = None
    model_override: str | None = None


@attrs.frozen
class Target:
    """
    What serves a request.

    @ivar key_source: where the session key came from; decides how the turn is placed.
    @ivar model_ref: C{provider/model}.
    """

    agent_id: str
    session_key: SessionKey
    key_source: KeySource
    model_ref: str

    @property
    def is_stable(self) -> bool:
        """Whether the client can come back to this session."""
        return self.key_source != "fresh"


def agent_model_ref(config: Config, agent_id: str) -> str:
    """The model of an agent, C{provider/model}; the embedded one where the configuration names none."""
    return agent_model_refs(config, agent_id)[0]


def agent_model_refs(config: Config, agent_id: str) -> tuple[str, ...]:
    """The models of an agent, C{provider/model}, its fallbacks included; the first is L{agent_model_ref}."""
    choice = config.agents.model_for(agent_id)
    return choice.refs if choice is not None else (config.models.local_ref,)


def model_names(config: Config) -> tuple[str, ...]:
    """The C{model} values that would work, best known first: an agent whose model nobody serves is left out."""
    working = [
        agent_id
        for agent_id in config.agents.agent_ids
        if any(config.models.why_not_served(ref) is None for ref in agent_model_refs(config, agent_id))
    ]
    # openclaw/default is the default agent, whatever its id; an agent of that id has its other spelling.
    names = [f"{MODEL_ALIAS}{':' if agent_id == 'default' else '/'}{agent_id}" for agent_id in working]
    if config.agents.default_agent_id in working:
        names[:0] = [MODEL_ALIAS, f"{MODEL_ALIAS}/default"]
    return tuple(names)


def model_agent(config: Config, name: str) -> str:
    """The agent that one of L{model_names} means."""
    return _choose_agent(config, Selection(model=name))


def resolve(config: Config, selection: Selection, run_id: str) -> Target:
    """
    Decide who serves a request.

    @param run_id: id of the run; a fresh session is named after it.
    @raise ModelNotFound: if the C{model} or the agent does not exist.
    @raise openclaw.errors.InvalidRequest: if a session key cannot be used.
    """
    agent_id = _choose_agent(config, selection)
    key, source = _choose_session(selection, agent_id, run_id)
    model_ref = (selection.model_override or "").strip()
    if not model_ref:
        model_ref = agent_model_ref(config, agent_id)
    return Target(agent_id, key, source, model_ref)


def _choose_agent(config: Config, selection: Selection) -> str:
    named = _agent_in_model(selection.model)
    if selection.agent_id is not None and selection.agent_id.strip():
        return _known_agent(config, selection.agent_id, "x-openclaw-agent-id")
    if named is not None:
        return _known_agent(config, named, "model")
    default = config.agents.default_agent_id
    if default is None:
        raise ModelNotFound(
            "several agents are configured and none of them is the default; name one as openclaw/<agent id>",
            param="model",
        )
    return default


def _agent_in_model(model: str | None) -> str | None:
    """The agent that a C{model} value names, if any; C{None} for the default one."""
    text = (model or "").strip()
    lowered = text.lower()
    if lowered in ("", MODEL_ALIAS, f"{MODEL_ALIAS}/default"):
        return None
    for prefix in (f"{MODEL_ALIAS}/", f"{MODEL_ALIAS}:", "agent:"):
        if lowered.startswith(prefix):
            return text[len(prefix) :]
    raise ModelNotFound("unknown model; use openclaw or openclaw/<agent id>", param="model")


def _known_agent(config: Config, text: str, param: str) -> str:
    agent_id = normalise_agent_id(text)
    if agent_id is None or agent_id not in config.agents.agent_ids:
        raise ModelNotFound("there is no agent of that name", param=param)
    return agent_id


def _choose_session(selection: Selection, agent_id: str, run_id: str) -> tuple[SessionKey, KeySource]:
    named = _named_session(selection, agent_id)
    if named is None:
        return SessionKey(agent_id, f"openai:{run_id.rpartition('_')[2]}"), "fresh"
    return named


def _named_session(selection: Selection, agent_id: str) -> tuple[SessionKey, KeySource] | None:
    if selection.session_key is not None:
        return client_session_key(selection.session_key, agent_id, "x-openclaw-session-key"), "key"
    if selection.chat_id is not None:
        source, text = selection.chat_id
        if text.startswith(UNKEPT_CHATS):
            return None
        return _derived_key(agent_id, "openai-chat", text, source), "chat"
    if selection.metadata_session_id is not None:
        return _derived_key(agent_id, "openai-chat", selection.metadata_session_id, "metadata.session_id"), "metadata"
    user = (selection.user or "").strip()
    if user:
        return _derived_key(agent_id, "openai-user", user, "user"), "user"
    return None


def _derived_key(agent_id: str, kind: str, text: str, source: str) -> SessionKey:
    check_client_key_text(text, source)
    return SessionKey(agent_id, f"{kind}:{text}")
