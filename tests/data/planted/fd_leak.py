"""A service that opens its settings for every request and never closes them: "grow N" opens them N times."""

import os
import sys

kept = []


def answer(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def load_settings(path: str) -> None:
    kept.append(os.open(path, os.O_RDONLY))


answer("ready")
for line in sys.stdin:
    for _ in range(int(line.split()[1])):
        load_settings(sys.argv[1] if len(sys.argv) > 1 else __file__)
    answer("grown")
