"""The journal of a long computation: a header, then a line for each call and each training.

A line that was being written when the computer stopped is dropped; a line that cannot have been
written by ``digits_bench.make`` is refused. One process at a time may write.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .cifar10 import DataError

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two processes apart there
    fcntl = None

__all__ = ["is_whole", "locked", "read_journal"]


def is_whole(value, least: int) -> bool:
    """Whether it is an int (no bool), at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@contextmanager
def locked(journal: Path, path: Path) -> Iterator:
    """The journal, open for appending by this process alone; an empty one is not left behind."""
    with open(journal, "a", encoding="utf-8") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # finished and deleted by another process, since it was opened here
            free = journal.exists() and os.path.samestat(os.fstat(file.fileno()), journal.stat())
        except BlockingIOError:
            free = False
        except FileNotFoundError:
            free = False
        except OSError:  # a file system without locks
            free = True
        if not free:
            raise DataError(f"another process is making '{path}': wait for it, or name another")
        try:
            yield file
        finally:
            with suppress(OSError):  # Windows deletes no open file
                if not journal.stat().st_size:
                    journal.unlink()


def read_journal(
    journal: Path, header: dict, highs: Sequence[int]
) -> tuple[dict[tuple[int, int], list], list[dict]]:
    """Finished trainings, (row, run) -> counts and seconds; and the code of each call.

    Args:
        header: what the first line must hold. highs: the largest row, run and counts there can be.
    Raises:
        DataError: naming the line that is none of a journal's; a last line that is no JSON, or cut
            short, is dropped instead.
    """
    done, calls, whole = {}, [], 0
    lines = journal.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:  # also of bytes that are no text
            content = None
        if content is None and number == len(lines) and (number > 1 or not line.endswith(b"\n")):
            os.truncate(journal, whole)
            break
        whole += len(line)
        if number == 1 and isinstance(content, dict):
            if content != header:
                raise DataError(
                    f"'{journal}' was begun with other settings or images: delete it to start "
                    "anew, or name another table"
                )
        elif number > 1 and isinstance(content, dict) and isinstance(content.get("call"), dict):
            calls.append(content["call"])
        elif number > 1 and _is_entry(content, highs):
            done[content[0], content[1]] = content[2:]
        else:
            raise DataError(
                f"'{journal}' is damaged in line {number}: delete that line to train its network "
                "anew, or the file to train all of them"
            )
    return done, calls


def _is_entry(content, highs: Sequence[int]) -> bool:
    """Whether it is row, run and three counts, each in 0..high, and seconds."""
    if not isinstance(content, list) or len(content) != len(highs) + 1:
        return False
    *numbers, seconds = content
    if not all(is_whole(x, 0) and x <= high for x, high in zip(numbers, highs, strict=True)):
        return False
    return isinstance(seconds, (int, float)) and math.isfinite(seconds) and seconds >= 0
