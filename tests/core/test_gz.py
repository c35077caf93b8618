"""What is packed as gzip."""

from __future__ import annotations

import gzip
import subprocess

import pytest

from agent.gz import gzipped


@pytest.mark.parametrize("content", [b"", b"leak" * 10_000])
def test_gzip_reads_it(content: bytes) -> None:
    packed = gzipped(content, level=6, made_s=1_800_000_000)

    assert gzip.decompress(packed) == content
    assert subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout == content
    assert int.from_bytes(packed[4:8], "little") == 1_800_000_000


def test_the_same_content_gives_the_same_bytes() -> None:
    assert gzipped(b"leak", level=1) == gzipped(b"leak", level=1)
