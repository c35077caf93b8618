"""leakwatch: watches processes from outside and says which of them leak memory."""

from __future__ import annotations

__version__ = "0.1.0"
