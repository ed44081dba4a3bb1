"""Hands a model to onnxruntime through a pipe, so that its bytes are in memory once.

Given bytes, onnxruntime holds three copies while it parses. From a path it parses while it reads. The path
here is that of a pipe: nothing lies on a disk, and what has been read is gone on our side.

A path has a folder, and a model may name files in it for its weights. The engine points most of such names
at a place where nothing can be; for those in branches and in sparse tensors, onnxruntime 1.31 looks in the
folder of the path, and only a check of its own, that the file is no link, stands between a model and the open
files of this process. So a model is streamed only if it can name no file at all (`names_no_file`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Final

# The key of the entry that makes weights external (onnx.proto, TensorProto.external_data). A string lies in a
# protobuf as it is, behind its length, so whatever names a file has these bytes, wherever and however deep.
_KEY: Final = b"location"

# What cannot be the last byte of a length of 8: names such as "allocation" or "/head/location" go by.
_INSIDE_A_WORD: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")

_SEARCH_BYTES: Final = 256 * 1024  # short enough that other threads are not kept waiting
_PIPE_BYTES: Final = 1024 * 1024  # the most that Linux gives without privileges
_SET_PIPE_SIZE: Final = 1031  # F_SETPIPE_SZ, which Python names on Linux only


def names_no_file(model: memoryview) -> bool:
    """Whether no reading of these bytes as protobuf could give weights that lie in a file.

    False for some that name none, such as one with an input "location". Linear, whatever the bytes.
    """
    overlap = len(_KEY)  # the key and the byte before it
    for start in range(0, len(model), _SEARCH_BYTES):
        part = bytes(model[max(0, start - overlap) : start + _SEARCH_BYTES])
        at = part.find(_KEY)
        while at >= 0:
            # What a later part begins with was judged at the end of the part before.
            if (at == 0 and start == 0) or (at > 0 and part[at - 1] not in _INSIDE_A_WORD):
                return False
            at = part.find(_KEY, at + 1)
    return True


@contextlib.contextmanager
def streamed(pieces: Iterable[memoryview]) -> Iterator[str]:
    """Return a path whose content, to be read once, is `pieces`. Raises what they raise, OSError.

    What the reader made of the content must not be used if this raises: it may have seen a part of it.
    """
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):  # a smaller pipe is a slower one
        fcntl.fcntl(writing, _SET_PIPE_SIZE, _PIPE_BYTES)
    feeder = _Feeder(pieces, writing)
    try:
        feeder.start()
    except BaseException:
        os.close(reading)
        os.close(writing)
        raise
    try:
        yield f"/proc/self/fd/{reading}"
    finally:
        os.close(reading)  # a reader that gave up early lets the feeder go
        feeder.join()
    if feeder.failure is not None:
        raise feeder.failure


class _Feeder(threading.Thread):
    def __init__(self, pieces: Iterable[memoryview], writing: int) -> None:
        super().__init__(name="model-feeder")
        self._pieces = pieces
        self._writing = writing
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            for piece in self._pieces:
                rest = piece
                while rest:
                    rest = rest[os.write(self._writing, rest) :]
        except OSError as exc:
            if exc.errno != errno.EPIPE:  # the reader has had enough, and says why itself
                self.failure = exc
        except Exception as exc:  # noqa: BLE001 - raised again where the model is loaded
            self.failure = exc
        finally:
            os.close(self._writing)


def can_stream() -> bool:
    """Whether this system has a path for an open pipe; some enclaves and other systems have none."""
    reading, writing = os.pipe()
    try:
        os.close(os.open(f"/proc/self/fd/{reading}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(reading)
        os.close(writing)
