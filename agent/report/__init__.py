"""Captures as a person opens them: one page, and what changed between two of them."""
