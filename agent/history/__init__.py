"""What was seen: block minima at several resolutions in memory, SQLite beneath."""
