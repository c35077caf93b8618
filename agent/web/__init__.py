"""Health, metrics and their small server."""
