"""Runs that write to the ledger of slides at the same time: nothing that one of them writes is lost."""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest

from embedstore.store import Outcome, SlideRow, Store

WRITERS, SLIDES = 3, 6


def _metadata(writer: int, slide: int) -> dict[str, Any]:
    """What a writer's list says of a slide; only that of the first says whose it is."""
    return {f"column {writer}": f"{writer}-{slide}"} | ({"patient": f"P{slide}"} if writer == 0 else {})


def _write(start: Any, folder: Path, rounds: int, writer: int) -> None:
    """What an ingest of the same slides into a collection of its own writes to the ledger, two slides at a time."""
    for number in range(rounds):
        start.wait(timeout=60)  # no longer, where another has failed
        ledger = Store.create(folder / str(number)).ledger
        listed = [(f"s{slide}", f"/{slide}", _metadata(writer, slide)) for slide in range(SLIDES)]
        ledger.admit_columns(metadata for _, _, metadata in listed)
        ledger.refresh(listed)
        rows = [SlideRow(slide_id=name, path=path, kind="wsi", metadata=metadata) for name, path, metadata in listed]
        for i in range(0, SLIDES, 2):
            ledger.record(rows[i : i + 2], ())
            done = [
                Outcome(collection=f"c{writer}", slide_id=row.slide_id, path=row.path, state="done") for row in rows
            ]
            ledger.record((), done[i : i + 2])


def lost(folder: Path, rounds: int) -> list[str]:
    """What rounds of writers that begin at the same moment lost."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(WRITERS)
    writers = [context.Process(target=_write, args=(start, folder, rounds, writer)) for writer in range(WRITERS)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    faults = [f"writer {i} ended with {process.exitcode}" for i, process in enumerate(writers) if process.exitcode]
    for number in range(rounds):
        ledger = Store.open(folder / str(number)).ledger
        rows = {row.slide_id: row.metadata for row in ledger.slides()}
        for slide in range(SLIDES):
            said = {name: value for writer in range(WRITERS) for name, value in _metadata(writer, slide).items()}
            if rows.get(f"s{slide}") != said:
                faults.append(f"round {number}, slide {slide}: {rows.get(f's{slide}')}")
        if len(ledger.outcomes()) != WRITERS * SLIDES:
            faults.append(f"round {number}: {len(ledger.outcomes())} outcomes")
    return faults


@pytest.mark.slow
def test_writers_together_lose_nothing(tmp_path: Path):
    assert lost(tmp_path, rounds=8) == []


if __name__ == "__main__":  # python -m tests.store.test_writers_together FOLDER ROUNDS
    found = lost(Path(sys.argv[1]), int(sys.argv[2]))
    print(*found, f"{len(found)} losses in {sys.argv[2]} rounds", sep="\n")
