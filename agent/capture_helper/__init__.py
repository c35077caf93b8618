"""The small helper that holds the right to look into other users' processes, and its client in the daemon."""
