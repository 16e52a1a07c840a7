"""Labels that several people give: read, added, withdrawn, undone and compared."""

from collections.abc import Mapping, Sequence
from pathlib import PureWindowsPath
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from embedstore.errors import NotAllowedError
from embedstore.service.answers import (
    TABLE,
    Format,
    Limit,
    Offset,
    TableAnswer,
    table_answer,
)
from embedstore.service.failures import answers
from embedstore.service.routes.search import SlideId, TileId
from embedstore.service.security.pseudonyms import mapped
from embedstore.service.visible import SeenByAdmin, SeenByLabeller, SeenByReader, Visible
from embedstore.store import LabelChange
from embedstore.store.label import PLACE, Kind

router = APIRouter(prefix="/api/labels", tags=["labels"])

#: Most labels that one request adds or withdraws; a label file may hold more.
MOST_LABELS = 20_000


Task = Annotated[str, InPath(max_length=200, examples=["tumour"], description="The question that labels answer.")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Pixels = Annotated[float, Field(ge=-(2.0**31), lt=2.0**31, allow_inf_nan=False)]


class PlaceBody(BaseModel):
    """What a label is about: a tile, a point, a ready-made tile, an area, a whole slide or a patient."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"slide_id": "a.svs", "x": 20480, "y": 10240}}
    )

    tile_id: TileId | None = Field(None, description="A tile of a collection.")
    slide_id: SlideId | None = Field(None, description="With x and y a point; alone, the whole slide.")
    x: Pixels | None = Field(None, description="Level-0 pixel.")
    y: Pixels | None = None
    edge_l0: Pixels | None = Field(None, description="Edge of the tile whose corner is at x and y.")
    name: Name | None = Field(None, description="The file of a ready-made tile.")
    geometry: dict[str, Any] | None = Field(None, description="A point or polygons of GeoJSON, in level-0 pixels.")
    patient: Name | None = Field(None, description="Alone: all slides of the patient.")
    kind: Kind | None = Field(None, description="Where it does not follow from the other fields, such as `rest`.")


class LabelBody(PlaceBody):
    """A label: a class, and what it is about."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"label": "tumour", "slide_id": "a.svs", "x": 20480, "y": 10240}}
    )

    label: Name = Field(description="The class.")
    split: Name | None = Field(None, description="The part of a published split.")


class AddBody(BaseModel):
    """Labels to add: all of them, or after an error none."""

    model_config = ConfigDict(extra="forbid")

    labels: list[LabelBody] = Field(min_length=1, max_length=MOST_LABELS)
    collection: Name | None = Field(None, description="Where tile ids are looked up; in all when left out.")


class WithdrawBody(BaseModel):
    """Labels to withdraw, by their keys or by their places."""

    model_config = ConfigDict(extra="forbid")

    keys: list[Name] = Field([], max_length=MOST_LABELS, description="`label_key` of the labels; each must stand.")
    places: list[PlaceBody] | None = Field(None, min_length=1, max_length=MOST_LABELS)
    of: Name | None = Field(None, description="Whose labels they are, `*` for anybody's; the caller's when left out.")
    collection: Name | None = Field(None, description="Where tile ids are looked up; in all when left out.")


class UndoBody(BaseModel):
    """A change to undo."""

    model_config = ConfigDict(extra="forbid")

    change: Name | None = Field(None, description="Its id; the caller's last change when left out.")


class RemoveBody(BaseModel):
    """Which labels to remove: all of the task, or those that meet every condition given."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"author": "ann"}})

    slide_id: SlideId | None = None
    label: Name | None = None
    author: Name | None = None
    source: Annotated[str, Field(max_length=1000)] | None = Field(None, description="From this file.")


class ChangeAnswer(BaseModel):
    """A change that was made."""

    change: str | None = Field(description="Its id, to undo it; null where there was nothing to change.")
    task: str
    author: str
    at: str
    added: int
    withdrawn: int
    undoes: str | None
    notes: list[str] = Field(description="Warnings, such as about classes whose names are nearly the same.")


# -- reading ----------------------------------------------------------------------------------


@router.get("", response_model=TableAnswer, responses=TABLE | answers())
async def list_labels(request: Request, seen: SeenByReader, format: Format = None) -> Response:
    """The number of labels by task, class, kind, author and file, and when they were made."""

    def read() -> Response:
        return table_answer(request, shown_labels(seen, seen.labels().summary().to_arrow()), format=format)

    return await seen.run("reads", request, read)


@router.get("/{task:path}/history", response_model=TableAnswer, responses=TABLE | answers())
async def label_history(
    request: Request, seen: SeenByReader, task: Task, offset: Offset = 0, limit: Limit = None, format: Format = None
) -> Response:
    """The changes of a task's labels, from the first to the last: who added and withdrew how many, what is undone."""

    def read() -> Response:
        changes = seen.labels().history(task).to_arrow()
        return table_answer(request, changes, offset=offset, limit=limit, format=format)

    return await seen.run("reads", request, read)


@router.get("/{task:path}/disagreements", response_model=TableAnswer, responses=TABLE | answers())
async def label_disagreements(
    request: Request, seen: SeenByReader, task: Task, offset: Offset = 0, limit: Limit = None, format: Format = None
) -> Response:
    """The places that authors give different classes: a column `label_AUTHOR` for each author, null where silent.

    An author who labelled no tile or point there says what an own area says that covers its centre, or else an own
    label of the rest.
    """

    def read() -> Response:
        found = seen.labels().disagreements(task).to_arrow()
        shown = shown_labels(seen, found.select(PLACE))
        for name in found.column_names[len(PLACE) :]:
            shown = shown.append_column(name, found.column(name))
        return table_answer(request, shown, offset=offset, limit=limit, format=format)

    return await seen.run("reads", request, read)


@router.get("/{task:path}/agreement", response_model=TableAnswer, responses=TABLE | answers())
async def label_agreement(request: Request, seen: SeenByReader, task: Task, format: Format = None) -> Response:
    """How well each two authors agree: places in common, share of equal classes, and Cohen's kappa."""

    def read() -> Response:
        return table_answer(request, seen.labels().agreement(task).to_arrow(), format=format)

    return await seen.run("reads", request, read)


class CountAnswer(BaseModel):
    """A number of labels."""

    labels: int


@router.get("/{task:path}/count", responses=answers())
async def count_labels(
    request: Request,
    seen: SeenByReader,
    task: Task,
    slide_id: Annotated[str | None, Query(description="Only labels on this slide.")] = None,
    label: Annotated[str | None, Query(max_length=200, description="Only labels of this class.")] = None,
    author: Annotated[str | None, Query(max_length=200, description="Only labels of this author.")] = None,
    source: Annotated[str | None, Query(max_length=1000, description="Only labels from this file.")] = None,
) -> CountAnswer:
    """The number of labels of a task, those withdrawn as well."""

    def count() -> CountAnswer:
        slide = None if slide_id is None else seen.slide(slide_id)
        return CountAnswer(labels=seen.labels().count(task, slide_id=slide, label=label, author=author, source=source))

    return await seen.run("reads", request, count)


@router.get("/{task:path}", response_model=TableAnswer, responses=TABLE | answers())
async def labels_of_task(
    request: Request,
    seen: SeenByReader,
    task: Task,
    slide_id: Annotated[str | None, Query(description="Only labels on this slide.")] = None,
    author: Annotated[str | None, Query(max_length=200, description="Only labels of this author.")] = None,
    label: Annotated[str | None, Query(max_length=200, description="Only labels of this class.")] = None,
    offset: Offset = 0,
    limit: Limit = None,
    format: Format = None,
) -> Response:
    """The labels of a task that stand, a row each; areas as GeoJSON, in Arrow as WKB; in level-0 pixels."""

    def read() -> Response:
        slide = None if slide_id is None else seen.slide(slide_id)
        if slide is not None:
            seen.looked(slide, "labels")
        version = str(seen.service.tables.labels.version())  # before the rows are read
        rows = seen.labels().table(task).to_arrow()
        for name, value in (("slide_id", slide), ("author", author), ("label", label)):
            if value is not None:
                rows = rows.filter(pc.equal(rows[name], value))
        return table_answer(
            request, shown_labels(seen, rows), offset=offset, limit=limit, format=format, metadata={"version": version}
        )

    return await seen.run("reads", request, read)


# -- changing ---------------------------------------------------------------------------------


@router.post("/{task:path}/add", responses=answers(409))
async def add_labels(request: Request, seen: SeenByLabeller, task: Task, body: AddBody) -> ChangeAnswer:
    """Add labels of the caller; another class that the caller gave the same place before is withdrawn."""

    def add() -> ChangeAnswer:
        rows = _real_rows(seen, body.labels)
        seen.changed("labels.add", slides=_slides_of(rows), task=task, labels=len(rows))
        author, collection = seen.caller.name, body.collection
        return _change_answer(seen.labels().add(task, rows, author=author, collection=collection))

    return await seen.run("writes", request, add)


@router.post("/{task:path}/withdraw", responses=answers(409))
async def withdraw_labels(request: Request, seen: SeenByLabeller, task: Task, body: WithdrawBody) -> ChangeAnswer:
    """Withdraw labels: they count no more, and the store keeps who withdrew them and when."""

    def withdraw() -> ChangeAnswer:
        places = None if body.places is None else _real_rows(seen, body.places)
        seen.changed("labels.withdraw", slides=_slides_of(places or ()), task=task, keys=len(body.keys))
        return _change_answer(
            seen.labels().withdraw(
                task, body.keys, places=places, author=seen.caller.name, of=body.of, collection=body.collection
            )
        )

    return await seen.run("writes", request, withdraw)


@router.post("/{task:path}/undo", responses=answers(409))
async def undo_labels(request: Request, seen: SeenByLabeller, task: Task, body: UndoBody) -> ChangeAnswer:
    """Undo a change of labels; an undo is a change, and can be undone."""

    def undo() -> ChangeAnswer:
        seen.changed("labels.undo", task=task, change=body.change)
        return _change_answer(seen.labels().undo(task, body.change, author=seen.caller.name))

    return await seen.run("writes", request, undo)


@router.post("/{task:path}/remove", responses=answers(409))
async def remove_labels(request: Request, seen: SeenByAdmin, task: Task, body: RemoveBody) -> CountAnswer:
    """Remove labels for good, with those withdrawn, and say how many; files keep them until `compact`."""

    def remove() -> CountAnswer:
        if seen.caller.project is not None:
            raise NotAllowedError(
                "labels are removed for good from all of the store; a token of a project withdraws them"
            )
        slide = None if body.slide_id is None else seen.slide(body.slide_id)
        conditions = {"label": body.label, "author": body.author, "source": body.source}
        seen.changed("labels.remove", slides=[slide] if slide else [], task=task, **conditions)
        return CountAnswer(labels=seen.labels().remove(task, slide_id=slide, **conditions))

    return await seen.run("writes", request, remove)


# -- in and out -------------------------------------------------------------------------------


def _real_rows(seen: Visible, places: Sequence[PlaceBody]) -> list[dict[str, Any]]:
    """Rows as `Labels.add` takes them, of slides and patients that the caller sees."""
    slides: dict[str, str] = {}
    patients: dict[str, str] = {}
    rows = []
    for place in places:
        row = place.model_dump(exclude_none=True)
        if place.slide_id is not None:
            if place.slide_id not in slides:
                slides[place.slide_id] = seen.slide(place.slide_id)
            row["slide_id"] = slides[place.slide_id]
        if place.patient is not None:
            if place.patient not in patients:
                patients[place.patient] = seen.patient(place.patient)
            row["patient"] = patients[place.patient]
        rows.append(row)
    return rows


def _slides_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({row["slide_id"] for row in rows if "slide_id" in row})


def _change_answer(change: LabelChange) -> ChangeAnswer:
    return ChangeAnswer(
        change=change.id,
        task=change.task,
        author=change.author,
        at=change.at.isoformat(),
        added=change.added,
        withdrawn=change.withdrawn,
        undoes=change.undoes,
        notes=list(change.notes),
    )


def shown_labels(seen: Visible, rows: pa.Table) -> pa.Table:
    """Rows of labels as the caller sees them: with `label_key`, and files without their folders."""
    if "source" in rows.column_names:
        names = mapped(rows["source"], lambda source: PureWindowsPath(source or "").name)
        rows = rows.set_column(rows.column_names.index("source"), "source", names)
    return seen.table(rows.rename_columns(["label_key" if name == "key" else name for name in rows.column_names]))
