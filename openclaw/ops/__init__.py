"""Templates of systemd units, filled in by L{openclaw.cli.gateway.unit_file}."""
