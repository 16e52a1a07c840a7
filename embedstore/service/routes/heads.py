"""Heads and augmenters: listed, shown, fitted and removed."""

import csv
import io
from typing import Any, Literal

import pyarrow as pa
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from embedstore.api import Augmenter, Head
from embedstore.service.answers import content, json_answer
from embedstore.service.failures import answers
from embedstore.service.routes.jobs import ACCEPTED, Filter, JobAnswer, Name, SlideNames, start_job
from embedstore.service.visible import SeenByAdmin, SeenByFitter, SeenByReader, Visible

router = APIRouter(prefix="/api", tags=["heads"])


class MetricAnswer(BaseModel):
    """A metric with its 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


class HeadAnswer(BaseModel):
    """A head in short."""

    name: str
    task: str
    collection: str
    model: str
    level: Literal["tile", "slide", "patient"]
    classes: list[str]
    digest: str
    created_at: str | None
    metrics: dict[str, MetricAnswer] = Field(description="On examples that it was not fitted on.")
    has_predicted: bool


class ReportAnswer(BaseModel):
    """How good a head is on examples that it was not fitted on; more in `embedstore heads show`."""

    model_config = ConfigDict(extra="allow")

    rows: int
    groups: int = Field(description="Patients, or what the split keeps together: intervals rest on them.")
    metrics: dict[str, MetricAnswer]
    per_class: dict[str, dict[str, MetricAnswer]]
    support: dict[str, int] = Field(description="Rows of each class.")
    no_skill: dict[str, float] = Field(description="What guessing reaches, by metric.")
    notes: list[str]


class CardAnswer(BaseModel):
    """A head's card, as `embedstore heads show --json` prints it; the fields that pages show are named here."""

    model_config = ConfigDict(extra="allow")

    name: str
    task: str
    digest: str
    classes: list[str]
    positive: str | None
    thresholds: dict[str, float]
    config: dict[str, Any] = Field(description="`FitConfig` as it was resolved; `split.group_by` says what groups are.")
    examples: int
    groups: int
    report: ReportAnswer
    notes: list[str] = Field(description="What one should know, such as patients that are too few.")
    seconds: dict[str, float] = Field(description="Duration of each stage.")


class FitBody(BaseModel):
    """What to fit; fields as of `Store.fit_heads`, and whether to predict with it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"tasks": ["tissue"], "settings": {"model": "linear", "positive": "tumour"}}},
    )

    tasks: list[Name] = Field(min_length=1, max_length=100, description="Tasks that have labels.")
    names: list[Name] = Field([], max_length=100, description="Names of the heads; TASK-MODEL when left out.")
    collection: Name | None = None
    where: Filter | None = None
    replace: bool = False
    predict: bool = Field(False, description="Predict all slides with the head, too, those of `slides` first.")
    slides: SlideNames = Field([], description="Slides that somebody looks at; their predictions are there first.")
    settings: dict[str, Any] = Field({}, max_length=100, description="Fields of `FitConfig`; see docs/configuration.")


class PredictBody(BaseModel):
    """What to predict; fields as of `Head.predict`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"where": "cohort = 'A'"}})

    slides: SlideNames = Field([], description="Only these; all when empty.")
    where: Filter | None = None
    collection: Name | None = None
    replace: bool = Field(False, description="Replace all earlier predictions, of whatever collection and slides.")


class ZeroShotBody(BaseModel):
    """What to make; fields as of `Store.zero_shot_head`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "task": "tumour",
                "settings": {"classes": {"normal": ["normal tissue"], "tumour": ["tumor tissue", "carcinoma"]}},
            }
        },
    )

    task: Name
    name: Name | None = None
    collection: Name | None = None
    replace: bool = False
    settings: dict[str, Any] = Field(max_length=100, description="Fields of `ZeroShotConfig`, among them `classes`.")


class EvaluateBody(BaseModel):
    """What to evaluate; fields as of `Store.evaluate`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"heads": ["tumour-linear"], "settings": {"by": "cohort"}}},
    )

    heads: list[Name] = Field(min_length=1, max_length=20, description="Heads of one extractor.")
    collection: Name | None = None
    where: Filter | None = None
    settings: dict[str, Any] = Field({}, max_length=100, description="Fields of `EvaluateConfig`.")


class FitAugmenterBody(BaseModel):
    """What to train; fields as of `Store.fit_augmenter`."""

    model_config = ConfigDict(extra="forbid")

    collection: Name | None = None
    name: Name | None = None
    where: Filter | None = None
    force: bool = False
    replace: bool = False
    settings: dict[str, Any] = Field({}, max_length=100, description="Fields of `AugmenterConfig`.")


@router.get("/heads", responses=answers())
async def list_heads(request: Request, seen: SeenByReader) -> list[HeadAnswer]:
    """Every head with its metrics."""
    return await seen.run("reads", request, lambda: [_answer(head) for head in seen.service.store.heads])


def _card(seen: Visible, model: Head | Augmenter) -> dict[str, Any]:
    """The card of a model as the caller may read it."""
    record = model.as_record()
    return {**seen.value(record), "where": seen.shown_filter(record.get("where"))}


def _answer(head: Head) -> HeadAnswer:
    return HeadAnswer(
        name=head.name,
        task=head.task,
        collection=head.collection,
        model=head.model,
        level=head.level,  # type: ignore[arg-type]
        classes=list(head.classes),
        digest=head.digest,
        created_at=head.created_at.isoformat() if head.created_at else None,
        metrics={
            name: MetricAnswer(value=each.value, low=each.low, high=each.high) for name, each in head.metrics.items()
        },
        has_predicted=head.has_predicted,
    )


@router.post("/heads", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers(409))
async def fit_heads(request: Request, seen: SeenByFitter, body: FitBody) -> Response:
    """Fit a head for each task, all in one pass over the vectors, as a job; and predict with it, if asked to.

    Its progress has the stages `fit`, `predict-first` and `predict`. A head of the same name keeps its URL with
    `replace`, and those of its predictions.
    """
    return await start_job(request, seen, "fit", body)


@router.post("/heads/zero-shot", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers(409))
async def zero_shot(request: Request, seen: SeenByFitter, body: ZeroShotBody) -> Response:
    """Make a head for tiles of words alone, as a job, where the collection's extractor has a text tower."""
    return await start_job(request, seen, "zero-shot", body, trust_extractor=seen.service.config.trust_extractor)


@router.get("/heads/{head}", response_model=CardAnswer, responses=answers())
async def show_head(request: Request, seen: SeenByReader, head: str) -> Response:
    """A head's card: how it was fitted and how good it is, as `embedstore heads show --json` prints it."""
    return await seen.run("reads", request, lambda: json_answer(_card(seen, seen.service.store.head(head))))


@router.delete("/heads/{head}", status_code=204, response_class=Response, responses=answers(409))
async def remove_head(request: Request, seen: SeenByAdmin, head: str) -> None:
    """Remove a head and its predictions."""

    def remove() -> None:
        chosen = seen.service.store.head(head)
        seen.changed("head.remove", head=head)
        chosen.remove()

    await seen.run("writes", request, remove)


@router.get("/heads/{head}/curves", response_model=dict[str, Any], responses=answers())
async def show_curves(request: Request, seen: SeenByReader, head: str) -> Response:
    """ROC, precision-recall, reliability and confusion as numbers, on examples that the head was not fitted on."""
    return await seen.run(
        "reads", request, lambda: json_answer(seen.value(seen.service.store.head(head).report.as_record()))
    )  # fmt: skip


@router.get(
    "/heads/{head}/curves.png",
    response_class=Response,
    responses=content("image/png") | answers(),
)
async def draw_curves(request: Request, seen: SeenByReader, head: str) -> Response:
    """ROC, precision-recall, reliability and confusion on one picture."""

    def draw() -> Response:
        from heads.evaluation.plots import curves_png

        chosen = seen.service.store.head(head)
        key = "curves", chosen.name, chosen.digest, chosen.created_at
        made = seen.service.drawn.get_or_make(key, lambda: curves_png(chosen.report, name=chosen.name))
        return Response(made, media_type="image/png", headers={"Cache-Control": "private, no-cache"})

    return await seen.run("exports", request, draw)


@router.get("/heads/{head}/split.csv", response_class=Response, responses=content("text/csv") | answers())
async def show_split(request: Request, seen: SeenByReader, head: str) -> Response:
    """The part of every example in each fold, with slide, patient and place; of slides that the caller sees."""

    def write() -> Response:
        out = io.StringIO()
        seen.service.store.head(head).write_split(out)
        disposition = f'attachment; filename="{head}-split.csv"'  # names of heads are letters, digits, ., _ and -
        content = _seen_rows(seen, out.getvalue())
        return Response(content, media_type="text/csv", headers={"Content-Disposition": disposition})

    return await seen.run("exports", request, write)


def _seen_rows(seen: Visible, text: str) -> str:
    """A split as the caller sees it: of their slides, under the names that they know."""
    if seen.slides() is None and seen.shows_names:
        return text
    header, *lines = csv.reader(io.StringIO(text))
    columns = zip(*lines, strict=True) if lines else ((),) * len(header)
    rows = {
        name: pa.array([value or None for value in values], pa.string())
        for name, values in zip(header, columns, strict=True)
    }
    shown = seen.table(pa.table(rows))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(*(shown[name].to_pylist() for name in header), strict=True))
    return out.getvalue()


@router.post("/heads/{head}/predict", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers(409))
async def predict(request: Request, seen: SeenByFitter, head: str, body: PredictBody) -> Response:
    """Predict the tiles, slides or patients of a collection and store the predictions, as a job."""
    return await start_job(request, seen, "predict", body, head=head)


@router.post("/evaluations", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers())
async def evaluate_heads(request: Request, seen: SeenByFitter, body: EvaluateBody) -> Response:
    """Evaluate heads on labelled slides that they were not fitted on, as a job; the result are the evaluations."""
    by = body.settings.get("by")
    if isinstance(by, str):
        seen.shown_columns([by])
    return await start_job(request, seen, "evaluate", body)


class FitAgainBody(BaseModel):
    """Nothing is to be said: the head's record says all."""

    model_config = ConfigDict(extra="forbid")


@router.post("/heads/{head}/fit-again", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers())
async def fit_again(request: Request, seen: SeenByFitter, head: str, body: FitAgainBody) -> Response:
    """Fit a head again from its record, and compare, as a job; nothing is saved."""
    return await start_job(request, seen, "fit-again", body, head=head)


@router.get("/augmenters", response_model=list[dict[str, Any]], responses=answers())
async def list_augmenters(request: Request, seen: SeenByReader) -> Response:
    """Every latent augmenter: name, collection, digest and time."""

    def read() -> Response:
        names = ("name", "collection", "digest", "created_at")
        return json_answer([{name: getattr(each, name) for name in names} for each in seen.service.store.augmenters])

    return await seen.run("reads", request, read)


@router.post("/augmenters", status_code=202, response_model=JobAnswer, responses=ACCEPTED | answers(409))
async def fit_augmenter(request: Request, seen: SeenByFitter, body: FitAugmenterBody) -> Response:
    """Train a latent augmenter on a collection's stored views, as a job."""
    return await start_job(request, seen, "fit-augmenter", body)


@router.get("/augmenters/{augmenter}", response_model=dict[str, Any], responses=answers())
async def show_augmenter(request: Request, seen: SeenByReader, augmenter: str) -> Response:
    """An augmenter's card."""
    return await seen.run("reads", request, lambda: json_answer(_card(seen, seen.service.store.augmenter(augmenter))))


@router.delete("/augmenters/{augmenter}", status_code=204, response_class=Response, responses=answers(409))
async def remove_augmenter(request: Request, seen: SeenByAdmin, augmenter: str) -> None:
    """Remove an augmenter; heads that were fitted with it stay."""

    def remove() -> None:
        chosen = seen.service.store.augmenter(augmenter)
        seen.changed("augmenter.remove", augmenter=augmenter)
        chosen.remove()

    await seen.run("writes", request, remove)
