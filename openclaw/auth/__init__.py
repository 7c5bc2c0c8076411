"""Who may call: credentials, limits, hosts and origins."""
