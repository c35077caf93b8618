"""What the memory of a native program looks like from outside, and who allocates it."""
