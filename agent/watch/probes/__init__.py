"""What a runtime tells about its own heap, read from outside: one file for each runtime."""
