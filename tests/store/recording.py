"""A folder that writes down what is done to it, and the disks that a power cut could leave behind.

What POSIX promises is little: the bytes of a file are there after an fsync of the file, its name after one
of the folder. Everything since then may be there, or not, or in part, in any order.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from blindai.store.folder import Folder

ALL_SUBSETS = 5  # changes to a folder up to which every subset of them is tried


@dataclass(frozen=True)
class Operation:
    """One operation on the folder. `inode` numbers the files in the order in which they were made."""

    kind: str  # create, write, sync_file, rename, unlink, sync
    name: str = ""
    inode: int = -1
    data: bytes = field(default=b"", repr=False)
    offset: int = 0


class Recording(Folder):
    """Does what the folder does, and keeps a log of what changes it."""

    log: list[Operation]
    _inodes: dict[str, int]
    _count: int

    @classmethod
    def open(cls, path):
        folder = super().open(path)
        folder.log, folder._inodes, folder._count = [], {}, 0
        return folder

    def create(self, name):
        file = super().create(name)
        self._inodes[name] = self._count
        self._count += 1
        self.log.append(Operation("create", name, self._inodes[name]))
        return file

    def write_at(self, file, data, offset):
        super().write_at(file, data, offset)
        self.log.append(Operation("write", file.name, self._inodes[file.name], bytes(data), offset))

    def sync_file(self, file):
        super().sync_file(file)
        self.log.append(Operation("sync_file", file.name, self._inodes[file.name]))

    def rename(self, old, new):
        super().rename(old, new)
        self._inodes[new] = self._inodes.pop(old)
        self.log.append(Operation("rename", f"{old}>{new}", self._inodes[new]))

    def unlink(self, name):
        super().unlink(name)
        self.log.append(Operation("unlink", name, self._inodes.pop(name)))

    def sync(self):
        super().sync()
        self.log.append(Operation("sync"))


class Disk:
    """What is certain to be on a disk after some operations, and what may be."""

    def __init__(self) -> None:
        self.certain: dict[str, int] = {}
        self.possible: list[Operation] = []  # changes to the folder since its last sync
        self.synced: dict[int, bytes] = {}
        self.written: dict[int, list[Operation]] = {}  # of each file since its last sync

    def apply(self, operation: Operation) -> None:
        if operation.kind == "write":
            self.written.setdefault(operation.inode, []).append(operation)
        elif operation.kind == "sync_file":
            writes = self.written.pop(operation.inode, [])
            self.synced[operation.inode] = _after(self.synced.get(operation.inode, b""), writes)
        elif operation.kind == "sync":
            self.certain = _folder_after(self.certain, self.possible)
            self.possible = []
        else:
            self.possible.append(operation)

    def worlds(self) -> Iterator[dict[str, bytes]]:
        """Yield the folders that a reader may find after a power cut at this moment."""
        for changes in _subsets(self.possible):
            names = _folder_after(self.certain, changes)
            choices = [[(name, data) for data in self._contents(inode)] for name, inode in names.items()]
            for world in itertools.product(*choices):
                yield dict(world)

    def _contents(self, inode: int) -> list[bytes]:
        base, writes = self.synced.get(inode, b""), self.written.get(inode, [])
        if not writes:
            return [base]
        halves = [
            Operation("write", inode=w.inode, data=w.data[: len(w.data) // 2], offset=w.offset)
            for w in writes
        ]
        zeros = [Operation("write", inode=w.inode, data=bytes(len(w.data)), offset=w.offset) for w in writes]
        kept = [[], writes, writes[:-1], writes[-1:], halves, zeros, [*writes[:-1], halves[-1]]]
        return list(dict.fromkeys(_after(base, some) for some in kept))


def _after(base: bytes, writes: list[Operation]) -> bytes:
    data = bytearray(base)
    for write in writes:
        end = write.offset + len(write.data)
        data.extend(bytes(max(0, end - len(data))))
        data[write.offset : end] = write.data
    return bytes(data)


def _folder_after(names: dict[str, int], changes: list[Operation]) -> dict[str, int]:
    names = dict(names)
    for change in changes:
        if change.kind == "create":
            names[change.name] = change.inode
        elif change.kind == "unlink":
            names.pop(change.name, None)
        else:
            old, _, new = change.name.partition(">")
            names.pop(old, None)
            names[new] = change.inode
    return names


def _subsets(changes: list[Operation]) -> Iterator[list[Operation]]:
    if len(changes) <= ALL_SUBSETS:
        for bits in itertools.product((True, False), repeat=len(changes)):
            yield [change for change, kept in zip(changes, bits, strict=True) if kept]
        return
    for end in range(len(changes) + 1):
        yield changes[:end]
        yield changes[:end] + changes[end + 1 :]
    chance = random.Random(len(changes))  # noqa: S311
    for _ in range(2**ALL_SUBSETS):
        yield [change for change in changes if chance.random() < 0.5]
