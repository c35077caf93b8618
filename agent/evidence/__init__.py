"""What leaks: captures taken from a process without hurting it."""
