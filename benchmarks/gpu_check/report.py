"""Rows of measurements as JSON lines, what of them is there already, and the time that is left."""

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One measurement that is made or left out as a whole.

    Attributes:
        part, name: Together they are its name in the file of rows.
        about_s: Seconds that it is expected to take; it is not begun with less left.
        run: Yields its rows.
    """

    part: str
    name: str
    about_s: float
    run: Callable[[], Iterable[Row]]


class Report:
    """Runs steps until the time is over, and writes a line for each row at once.

    Args:
        file: The JSON lines; steps that ended in them are not run again.
        facts: What every row says: the device, versions.
        until: When the time is over, on the clock of `time.time`.
    """

    def __init__(self, file: Path, facts: Row, until: float) -> None:
        self._file, self._facts, self._until = file, facts, until
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        self._ended = {(line["part"], line["step"]) for line in lines if "took_s" in line}

    def run(self, steps: Iterable[Step]) -> list[str]:
        """Run what is not there yet.

        Returns:
            Names of the steps that there was no time for.
        Raises:
            RuntimeError: the device is lost to this process, which another may go on from.
        """
        left_out = []
        for step in steps:
            if (step.part, step.name) in self._ended:
                continue
            if time.time() + step.about_s > self._until:
                left_out.append(f"{step.part}: {step.name} (about {step.about_s:g} s)")
                continue
            self._run(step)
        return left_out

    def _run(self, step: Step) -> None:
        began, rows, lost = time.perf_counter(), 0, False
        outcome: Row = {}
        try:
            for row in step.run():
                self._write(step, row)
                rows += 1
        except Exception as error:  # a step that fails must not cost the others
            outcome = {"error": f"{type(error).__name__}: {error}"[:2000], "traceback": traceback.format_exc()[-6000:]}
            # After an error of a kernel every later call of this process fails too; a full memory is no such error.
            lost = "CUDA error" in str(error) and "out of memory" not in str(error)
        self._write(step, {"rows": rows, "took_s": round(time.perf_counter() - began, 2), **outcome})
        if lost:
            raise RuntimeError(f"{step.part}: {step.name}: {outcome['error']}")

    def _write(self, step: Step, row: Row) -> None:
        line = json.dumps({"part": step.part, "step": step.name, **row, **({} if "took_s" in row else self._facts)})
        with self._file.open("a") as file:
            file.write(line + "\n")
        shown = {name: value for name, value in row.items() if name != "traceback"}
        print(f"{step.part} · {step.name} · {json.dumps(shown)}", flush=True)
        if "traceback" in row:
            print(row["traceback"], file=sys.stderr, flush=True)
