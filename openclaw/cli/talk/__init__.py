"""Commands that talk with a running gateway: messages, sessions, its health and its log."""
