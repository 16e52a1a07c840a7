"""Labelled slides as Patho-Bench and eva read them."""

import csv
import io
from pathlib import Path

import numpy as np
import yaml

from embedstore.errors import ExportError
from embedstore.export.benchmarks.labelled_slides import LabelledSlides
from embedstore.extractors.tensor_file import write_tensor
from embedstore.output_files import atomic_write
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.store import Collection
from embedstore.store.vectors import matrix

#: What Patho-Bench measures of a task of classes.
METRICS = ["macro-ovr-auc", "bacc", "weighted-f1"]


def write_patho_bench(out: Path, labelled: LabelledSlides) -> list[Path]:
    """Write OUT/k=all.tsv and OUT/config.yaml; slides are named as `export --layout trident` names their files.

    A sample is a case where all slides of a case have one label and one part; else a slide.
    """
    path, config = out / "k=all.tsv", out / "config.yaml"
    folds = [f"fold_{i}" for i in range(len(labelled.folds))]
    of_case: dict[str, set[tuple[object, ...]]] = {}
    for slide in labelled.slides:
        of_case.setdefault(slide.case, set()).add((slide.label, *slide.parts))
    by_case = all(len(each) == 1 for each in of_case.values())
    rows = [[slide.case, slide.name, slide.label, *slide.parts] for slide in labelled.slides]
    _write(path, _table(["case_id", "slide_id", labelled.task, *folds], rows, delimiter="\t"))
    facts = {
        "task_col": labelled.task,
        "task_type": "classification",
        "sample_col": "case_id" if by_case else "slide_id",
        "extra_cols": [],
        "label_dict": dict(enumerate(labelled.classes)),
        "metrics": METRICS,
    }
    _write(config, yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))
    return [path, config]


def write_eva(
    out: Path, labelled: LabelledSlides, collection: Collection, *, on_progress: OnProgress = no_progress
) -> list[Path]:
    """Write OUT/manifest.csv, or manifest-FOLD.csv of several folds, and OUT/embeddings/SLIDE.pt, (tiles, dim) float32.

    Raises:
        ExportError: the collection lacks a labelled slide.
    """
    there = collection.slides()
    if lacking := [slide.slide_id for slide in labelled.slides if slide.slide_id not in there]:
        raise ExportError(
            f"collection {collection.name!r} lacks {len(lacking):,} labelled slides, such as {lacking[0]!r}"
        )
    paths = []
    for fold in range(len(labelled.folds)):
        path = out / ("manifest.csv" if len(labelled.folds) == 1 else f"manifest-{fold}.csv")
        rows = [
            [slide.slide_id, f"embeddings/{slide.name}.pt", slide.label, slide.parts[fold], slide.name,
             labelled.classes[slide.label]]
            for slide in labelled.slides if slide.parts[fold]
        ]  # fmt: skip
        _write(path, _table(["origin", "embeddings", "target", "split", "wsi_id", "label"], rows))
        paths.append(path)
    for done, slide in enumerate(labelled.slides, 1):
        path = out / "embeddings" / f"{slide.name}.pt"
        blocks = [
            matrix(batch.column("vector"), collection.dim)
            for batch in collection.batches(slides=[slide.slide_id], columns=["vector"])
            if batch.num_rows
        ]
        vectors = np.concatenate(blocks) if blocks else np.empty((0, collection.dim), np.float16)
        with atomic_write(path) as part:
            write_tensor(part, vectors.astype(np.float32))
        paths.append(path)
        on_progress(Progress(stage="export", done=done, total=len(labelled.slides), unit="slides"))
    return paths


def _table(header: list[str], rows: list[list[object]], *, delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
