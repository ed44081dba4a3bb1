"""Every byte of a store looked at, and a store that is refused made usable again without what is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from blindai.errors import StoreError
from blindai.store import inspection
from blindai.store.catalogue import Entry
from blindai.store.ledger import Ledger

REFUSED_SUFFIX = ".refused"  # kept for whoever can restore them; the store never looks at them again
Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class Finding:
    """What a model, or a file that belongs to none, was found to be. No error: as it was put there."""

    what: str
    size_bytes: int
    file: str
    error: StoreError | None = None


def examine(ledger: Ledger, progress: Progress | None) -> tuple[Finding, ...]:
    """Open every chunk of every file."""
    total, done = sum(entry.model.size_bytes for entry in ledger.catalogue.entries.values()), 0
    findings = []

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    for _, entry in sorted(ledger.catalogue.entries.items()):
        findings.append(_examined(ledger, entry, advance))
    strangers = inspection.strangers(ledger.folder, ledger.catalogue)
    return (*findings, *(Finding(name, 0, name, error) for name, error in strangers))


def give_up(ledger: Ledger, findings: Iterable[Finding]) -> None:
    """Take the models that cannot be read out of the catalogue, and put their files aside."""
    lost = {finding.file for finding in findings if finding.error is not None}
    there = ledger.folder.names() & lost
    for file in there:
        ledger.folder.rename(file, file + REFUSED_SUFFIX)
    names = [name for name, entry in ledger.catalogue.entries.items() if entry.file in lost]
    ledger.replace(ledger.catalogue.without(names))


def _examined(ledger: Ledger, entry: Entry, advance: Callable[[int], None]) -> Finding:
    error = None
    try:
        inspection.check_bytes(ledger.folder, ledger.catalogue, entry, advance)
    except StoreError as caught:
        error = caught
    return Finding(str(entry.model.name), entry.model.size_bytes, entry.file, error)
