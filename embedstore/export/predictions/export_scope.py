"""The scope of an export: a head's predictions, or a collection's embeddings alone, of some slides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ExportError
from embedstore.search.filters import select_slides
from embedstore.store import PredictionFacts, Predictions, SlideRow, Store


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportScope:
    """The slides of an export, and the tables to read.

    Attributes:
        store: The store to read from.
        collection: Name of the collection of the tiles.
        slides: Rows of the chosen slides that have something to export, by id.
        predictions: Predictions of the head; None where a collection is exported alone.
        attention: Attention of a head for slides or patients; None where it was not kept.
        facts: How the predictions were made.
        all_slides: Every slide of the table was chosen, so that it is read without a filter.
    """

    store: Store
    collection: str
    slides: Mapping[str, SlideRow]
    predictions: Predictions | None = None
    attention: Predictions | None = None
    facts: PredictionFacts | None = None
    all_slides: bool = False

    @property
    def slide_ids(self) -> list[str] | None:
        """The slides to read; None for all of the table."""
        return None if self.all_slides else list(self.slides)

    def head_facts(self, file_format: str) -> PredictionFacts:
        """The facts of the head.

        Raises:
            ExportError: no head was named.
        """
        if self.facts is None:
            raise ExportError(f"{file_format} shows predictions; name the head that made them with --head")
        return self.facts

    def tile_values(self, file_format: str) -> Predictions:
        """The table with a value for each tile: predictions, or attention of a head for slides.

        Raises:
            ExportError: there is none.
        """
        facts = self.head_facts(file_format)
        table = self.predictions if facts.level == "tile" else self.attention
        if table is None:
            raise ExportError(
                f"head {facts.head!r} predicts a whole {facts.level} and its attention was not kept, so there is "
                "nothing to draw on tiles; export it as csv, parquet or slides"
            )
        return table

    def located_slides(self, file_format: str, *, named: bool) -> tuple[list[str], list[str]]:
        """Slides whose tiles have a location, and the folders of ready-made tiles that are left out.

        Args:
            file_format: For errors.
            named: The slides were named one by one, so that none may be left out.
        Raises:
            ExportError: no slide is left, or a folder was named.
        """
        folders = [slide_id for slide_id, slide in self.slides.items() if slide.is_ready_made]
        located = [slide_id for slide_id in self.slides if slide_id not in folders]
        if folders and (named or not located):
            raise ExportError(
                f"{folders[0]!r} is a folder of ready-made tiles, which have no place on a slide, so {file_format} "
                "cannot show them; export csv, parquet or anndata instead"
            )
        return located, folders


def export_scope(
    store: Store,
    *,
    head: str | None = None,
    collection: str | None = None,
    slides: Sequence[str] = (),
    where: str | None = None,
) -> ExportScope:
    """Choose what to export.

    Args:
        head: Export its predictions; without one, the embeddings of `collection`.
        collection: By name; the only one when None.
        slides: Only these.
        where: Of them only those that fulfil this condition, such as "cohort = 'A'"; see `select_slides`.
    Raises:
        HeadNotFoundError, PredictionsNotFoundError: there is no such head, or it has no predictions.
        SlideNotInStoreError: a slide is not in the store.
        ExportError: a slide has nothing to export, or no slide is left.
        ConfigError: `where` is not a valid condition on slides.
    """
    predictions = facts = attention = None
    if head is not None:
        predictions = store.predictions(head)
        if not predictions.exists():
            store.heads.get(head)  # a name that no head has is told as that
        facts, present = predictions.facts(), predictions.slides()
        attention = _attention(store, facts)
        collection = facts.collection
    else:
        opened = store.collection(collection)
        collection, present = opened.name, opened.slides()
    source = f"predictions of head {head!r}" if head else f"collection {collection!r}"
    rows = {slide.slide_id: slide for slide in store.ledger.slides()}
    if where is not None:
        passing = select_slides(store, store.collection(collection), where)
        rows = {slide_id: rows[slide_id] for slide_id in passing}
    chosen = store.ledger.resolve_slides(slides=slides) if slides else sorted(present)
    if slides and (missing := [slide_id for slide_id in chosen if slide_id not in present]):
        hint = f"; `embedstore predict --head {head} --slide {missing[0]}` makes them" if head else ""
        raise ExportError(f"slide {missing[0]!r} has no rows in the {source} ({len(missing)} such slide(s)){hint}")
    if where is None:
        rows = {slide_id: SlideRow(slide_id=slide_id, path="", kind="wsi") for slide_id in chosen} | rows
    exported = {slide_id: rows[slide_id] for slide_id in chosen if slide_id in rows}
    if not exported:
        matches = f"; {where!r} holds for {len(rows)} slide(s) of the store" if where else ""
        raise ExportError(f"none of the {len(present)} slide(s) in the {source} was chosen{matches}; nothing to export")
    return ExportScope(
        store=store,
        collection=collection,
        slides=exported,
        predictions=predictions,
        attention=attention,
        facts=facts,
        all_slides=exported.keys() == present.keys(),
    )


def _attention(store: Store, facts: PredictionFacts) -> Predictions | None:
    """Attention of a head for slides or patients; None where it is missing, or from elsewhere than these."""
    attention = store.predictions(facts.head, "attention")
    kept = facts.level != "tile" and attention.is_there() and attention.facts().same_head(facts)
    return attention if kept else None


def metadata_columns(slides: Mapping[str, SlideRow]) -> list[str]:
    """The columns of slides that go into an export: patient, resolution, and the user's own."""
    users = dict.fromkeys(name for slide in slides.values() for name in slide.metadata if name != "patient")
    return ["patient", "slide_mpp", *users]


def attention_ranks(attention: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks of (n,) values within a slide, 0 (least) to 1 (most), which compare between slides as attention does not.

    Equal values share the mean of their ranks.
    """
    from scipy.stats import rankdata

    if len(attention) < 2:
        return np.ones(len(attention))
    return (rankdata(attention) - 1) / (len(attention) - 1)
