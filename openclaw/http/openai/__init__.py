"""The routes under C{/v1}, in OpenAI's shapes."""
