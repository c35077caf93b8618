"""Evidence of Python processes."""
