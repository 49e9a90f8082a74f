"""Stand-ins for the three services; `PYTHONPATH` puts this folder before the real ones."""
