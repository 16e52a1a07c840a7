"""What an export is about: a head's predictions, or a collection's embeddings alone, of some slides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embedstore.errors import ConfigError, ExportError
from embedstore.store import PredictionFacts, Predictions, Store
from embedstore.store.schema import SLIDES


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportScope:
    """Slides, and the tables that say something of them.

    Attributes:
        store: Where everything is.
        collection: Whose tiles they are.
        slides: The rows of the chosen slides that have something to export, by id.
        predictions: What the head said; None where a collection is exported alone.
        attention: Where a head for slides or patients looked; None where that is not kept.
        facts: What made the predictions.
        everything: The slides are all that the table has: it can be read without looking for them.
    """

    store: Store
    collection: str
    slides: Mapping[str, Mapping[str, Any]]
    predictions: Predictions | None = None
    attention: Predictions | None = None
    facts: PredictionFacts | None = None
    everything: bool = False

    @property
    def wanted(self) -> list[str] | None:
        """The slides to read, None where they are all there are."""
        return None if self.everything else list(self.slides)

    def head_facts(self, form: str) -> PredictionFacts:
        """The facts, or an error where no head was named."""
        if self.facts is None:
            raise ExportError(f"{form} shows predictions; name the head that made them with --head")
        return self.facts

    def places_table(self, form: str) -> Predictions:
        """The table that says something of each tile: predictions, or attention of a head for slides.

        Raises:
            ExportError: there is none.
        """
        facts = self.head_facts(form)
        table = self.predictions if facts.level == "tile" else self.attention
        if table is None:
            raise ExportError(
                f"head {facts.head!r} answers for a whole {facts.level}, and what it looked at is not kept, so there "
                "is nothing to draw on tiles; export it as csv, parquet or slides"
            )
        return table

    def slides_with_places(self, form: str, *, asked: bool) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
        """Slides on which tiles have a place, and the folders of ready-made tiles that were passed over.

        Raises:
            ExportError: no slide is left, or a folder was `asked` for by name.
        """
        folders = [slide_id for slide_id, row in self.slides.items() if row.get("kind") == "tiles"]
        placed = {slide_id: row for slide_id, row in self.slides.items() if slide_id not in folders}
        if folders and (asked or not placed):
            raise ExportError(
                f"{folders[0]!r} is a folder of ready-made tiles, which have no place on a slide, so {form} cannot "
                "show them; export csv, parquet or anndata instead"
            )
        return placed, folders


def export_scope(
    store: Store,
    *,
    head: str | None = None,
    collection: str | None = None,
    slides: Sequence[str] = (),
    where: str | None = None,
) -> ExportScope:
    """Find what is to be exported.

    Args:
        head: Whose predictions; without one, the embeddings of `collection`.
        collection: By name; the only one when None.
        slides: Only these.
        where: SQL over the rows of slides, such as "cohort = 'A'"; both must hold.
    Raises:
        PredictionsNotFoundError: the head has predicted nothing.
        SlideNotInStoreError: a slide is not in the store.
        ExportError: a slide is, but there is nothing of it to export; or no slide is left.
        ConfigError: `where` cannot be understood.
    """
    predictions = facts = attention = None
    if head is not None:
        predictions = store.predictions(head)
        facts, present = predictions.facts(), predictions.slides()
        attention = _attention(store, facts)
        collection = facts.collection
    else:
        opened = store.collection(collection)
        collection, present = opened.name, opened.slides()
    what = f"predictions of head {head!r}" if head else f"collection {collection!r}"
    rows = _slide_rows(store, where)
    chosen = store.resolve_slides(slides=slides) if slides else sorted(present)
    if slides and (lacking := [slide_id for slide_id in chosen if slide_id not in present]):
        hint = f"; `embedstore predict --head {head} --slide {lacking[0]}` makes them" if head else ""
        raise ExportError(f"slide {lacking[0]!r} has no rows in the {what} ({len(lacking)} such slide(s)){hint}")
    if where is None:
        rows = {slide_id: {"slide_id": slide_id} for slide_id in chosen} | rows
    found = {slide_id: rows[slide_id] for slide_id in chosen if slide_id in rows}
    if not found:
        asked = f"; {where!r} holds for {len(rows)} slide(s) of the store" if where else ""
        raise ExportError(f"none of the {len(present)} slide(s) in the {what} was chosen{asked}; nothing to export")
    return ExportScope(
        store=store,
        collection=collection,
        slides=found,
        predictions=predictions,
        attention=attention,
        facts=facts,
        everything=found.keys() == present.keys(),
    )


def _attention(store: Store, facts: PredictionFacts) -> Predictions | None:
    """Where a head for slides or patients looked; None where only an older version of it said so."""
    looked = store.predictions(facts.head, "attention")
    kept = facts.level != "tile" and looked.exists() and looked.facts().head_digest == facts.head_digest
    return looked if kept else None


def _slide_rows(store: Store, where: str | None) -> dict[str, dict[str, Any]]:
    try:
        return {row["slide_id"]: row for row in store.ledger.slides(where=where)}
    except ValueError as error:
        raise ConfigError(
            f"slides cannot be chosen by {where!r}: {str(error).split(', /')[0]}; "
            "`embedstore show --slide ID --no-picture` shows what columns slides have"
        ) from error


def metadata_columns(slides: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The columns of slides that say something to people: patient, resolution, and the user's own."""
    names = dict.fromkeys(name for row in slides.values() for name in row)
    own = [name for name in names if name not in SLIDES.names]
    return [name for name in ("patient", "slide_mpp") if name in names] + own
