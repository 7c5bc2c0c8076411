"""The project's own benchmark: a model server, a load generator and the table they make (C{python -m benchmarks})."""
