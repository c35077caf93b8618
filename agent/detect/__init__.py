"""Which series leak: pure functions from history to verdicts."""
