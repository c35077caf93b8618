"""Node's inspector: where it listens, and a client for it that bears with whatever answers there."""
