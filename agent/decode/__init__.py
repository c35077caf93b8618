"""YAML in, frozen dataclasses out: every mistake at once, each with its line, and never a secret's value."""
