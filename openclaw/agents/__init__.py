"""The runtime: sessions, lanes, runs and the model loop."""
