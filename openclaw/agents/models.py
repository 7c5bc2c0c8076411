"""
The models that a run may use: the agent's first choice, then its fallbacks.

All of them are found when the run is admitted, so that an edit of the configuration meanwhile does not concern it; what
cannot be found counts only when its turn comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from openclaw.agents.resolve import Target
from openclaw.config.schema import Config
from openclaw.errors import ModelNotFound, OpenClawError, ProviderError, ProviderModelUnknown, ProviderRejected
from openclaw.messages import Message
from openclaw.models import ModelCatalog, ModelRequest, ResolvedModel, Sampling


@attrs.frozen
class Prompt:
    """
    What a run asks of whichever model answers.

    @ivar messages: the whole prompt, system message first.
    @ivar sampling: as the client asked.
    @ivar session_key: the session in full, of which a provider may be told a name; C{None} if there is none.
    """

    messages: Sequence[Message]
    sampling: Sampling = attrs.field(factory=Sampling)
    session_key: str | None = None

    def request(self, model: ResolvedModel) -> ModelRequest:
        """The call of one model, the token limit bounded by that model's own."""
        sampling, most = self.sampling, model.max_tokens
        if most is not None and (sampling.max_tokens is None or sampling.max_tokens > most):
            sampling = attrs.evolve(sampling, max_tokens=most)
        name_of, session_id = model.profile.session_ids, None
        if name_of is not None and self.session_key is not None:
            session_id = name_of(self.session_key)
        return ModelRequest(model.model_id, self.messages, sampling, profile=model.profile, session_id=session_id)


@attrs.frozen
class Candidate:
    """
    One of the models that a run may use.

    @ivar ref: C{provider/model}.
    @ivar model: the model, or why it cannot be used: it is not configured, or its key is missing.
    """

    ref: str
    model: ResolvedModel | OpenClawError


def candidate_refs(config: Config, target: Target, *, overridden: bool) -> tuple[str, ...]:
    """The models that a run may use, first choice first, none twice; only the first if the client chose it."""
    choice = config.agents.model_for(target.agent_id)
    fallbacks = choice.fallbacks if choice is not None and not overridden else ()
    return tuple(dict.fromkeys((target.model_ref, *fallbacks)))


def find_candidates(catalog: ModelCatalog, refs: Sequence[str]) -> tuple[Candidate, ...]:
    """Find the models that a run may use; at least one is given."""
    return tuple(_find(catalog, ref) for ref in refs)


def check_usable(candidates: Sequence[Candidate]) -> None:
    """Raises why the first of some models cannot be used, if none of them can."""
    first = candidates[0].model
    if isinstance(first, OpenClawError) and all(isinstance(other.model, OpenClawError) for other in candidates):
        raise first


def _find(catalog: ModelCatalog, ref: str) -> Candidate:
    try:
        return Candidate(ref, catalog.resolve(ref))
    except (ModelNotFound, ProviderError) as error:
        return Candidate(ref, error)


def falls_back(error: OpenClawError) -> bool:
    """
    Whether another model may do better: the server failed, refused our key or does not know the model.

    What the server finds wrong with the request itself, its length included, any other would find wrong, too.
    """
    if isinstance(error, ProviderRejected):
        return isinstance(error, ProviderModelUnknown) or error.http_status == 404
    return isinstance(error, ProviderError | ModelNotFound)


def most_telling(errors: Sequence[OpenClawError]) -> int:
    """
    Which error a client is to be told when every model has failed.

    @param errors: one for each model, the first choice first.
    @return: the position of the first one that a later request need not meet again, such as of an overloaded server;
        0 if there is none.  So a wrong key of a fallback does not hide that the first choice is only busy, and the
        other way round.
    """
    return next((position for position, error in enumerate(errors) if not error.retry_useless), 0)
