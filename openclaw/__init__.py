"""OpenClaw Gateway: a person's own AI agents behind one port, as a Twisted service."""
