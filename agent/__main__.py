"""The command `leakwatch`, also as `python -m agent`."""

from __future__ import annotations

import os

# One thread is enough for our matrices, and OpenBLAS takes one a core where nobody stops it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from agent.cli.main import main

if __name__ == "__main__":
    main()
