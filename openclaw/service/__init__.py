"""The composition root: from a configuration to a running gateway, and back; the only place where everything meets."""
