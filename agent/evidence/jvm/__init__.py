"""Evidence of JVMs."""
