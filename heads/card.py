"""What is shown of a stored head beside its numbers: curves, and who was on which side of its split."""

import csv
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa

from embedstore.store import Store, StoredHead, read_tile_locations
from embedstore.store.schema import tile_ids
from heads.plots import curves_png, write_curves
from heads.report import Report
from heads.splits import PART_NAMES


def write_card(head: StoredHead, folder: Path) -> list[Path]:
    """Write a head's curves as PNG into FOLDER/NAME, each alone and all on a sheet, and say where."""
    report = Report.from_record(head.record["report"])
    folder = folder / head.name
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / "sheet.png"
    sheet.write_bytes(curves_png(report, name=head.name))
    return [sheet, *write_curves(report, folder, name=head.name)]


def write_split(store: Store, head: StoredHead, out: TextIO) -> None:
    """Write which part each example is in, a line an example: fold, part, slide, patient, and the tile's place.

    Names come from the store as it is now; an example that is no longer there has none.
    """
    examples = pa.ipc.open_stream(head.examples).read_all()
    described = _places(store, head)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["fold", "split", "group", "slide_id", "patient", "x", "y", "name"])
    ids, group = examples.column("id").to_pylist(), examples.column("group").to_pylist()
    for f, fold in enumerate(head.record["split"]["names"]):
        parts = examples.column(f"part_{f}").to_numpy()
        for i in np.flatnonzero(parts >= 0):
            writer.writerow([fold, PART_NAMES[int(parts[i])], group[i], *described.get(ids[i], [""] * 5)])


def _places(store: Store, head: StoredHead) -> dict[int, list[object]]:
    """Slide, patient, x, y and name by the id of an example."""
    slides = store.ledger.slides()
    patient = {row["slide_id"]: row["patient"] or "" for row in slides}
    if head.level == "slide":
        names = list(patient)
        return {key: [s, patient[s], "", "", ""] for key, s in zip(_ids("slide", names), names, strict=True)}
    if head.level == "patient":
        names = sorted({name for name in patient.values() if name})
        return {key: ["", p, "", "", ""] for key, p in zip(_ids("patient", names), names, strict=True)}
    places = read_tile_locations(store.collection(head.collection))
    found = {}
    for i, key in enumerate(places.tile_id.tolist()):
        slide = places.slides[places.slide[i]]
        name = "" if places.names is None else places.names[i] or ""
        x, y = ("", "") if name else places.xy_l0[i].tolist()
        found[key] = [slide, patient.get(slide, ""), x, y, name]
    return found


def _ids(level: str, names: list[str]) -> list[int]:
    return tile_ids(level, names).tolist()
