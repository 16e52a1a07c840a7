"""A collection of a store that a service serves; as `embedstore.Collection`."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.arguments import checks_arguments
from embedstore.client.connection import Connection, noted_table, path
from embedstore.client.exports import export_over
from embedstore.client.jobs import plain_settings, run_job
from embedstore.client.not_remote import only_at_store
from embedstore.client.query import RemoteQuery, as_example, image_bytes, query_columns, vector_example
from embedstore.client.search_result import RemoteSearchResult
from embedstore.client.tile_pictures import pictures_of
from embedstore.collection_summary import CollectionSummary
from embedstore.config import TilingConfig
from embedstore.errors import MapNotFoundError, OnlyAtStoreError
from embedstore.progress import OnProgress, Progress
from embedstore.progress_bar import progress_bar
from embedstore.quantities import human_bytes
from embedstore.query_text import given_texts
from embedstore.query_vector import FORMATS
from embedstore.result_table import NotedTable, Table, card
from embedstore.search_config import AWAY_WEIGHT, SearchConfig
from embedstore.settings import as_names, build_config
from embedstore.tile_rows import given_tile_rows

if TYPE_CHECKING:
    from PIL import Image

    from embedstore.encoder_config import VisualWordsConfig
    from embedstore.encoding_record import Encoded, EncodingFacts
    from embedstore.export import ExportResult
    from embedstore.export_format import ExportFormat
    from embedstore.map_config import MapConfig
    from embedstore.map_record import MapFacts
    from embedstore.maps import MapColours, TileMap
    from embedstore.search import Duplicates, Leaks, Outliers
    from embedstore.store import CollectionRecord, IndexFacts
    from heads.config import SuggestConfig


#: Queries of one request, rows of its answer, and bytes of its body.
MOST_QUERIES, MOST_ROWS, MOST_QUERY_BYTES = 10_000, 1_000_000, 32 << 20

SAFETENSORS = "application/vnd.safetensors"


@checks_arguments
class RemoteCollection:
    """One table of embeddings, over HTTP. Methods, arguments and errors are those of `embedstore.Collection`.

    Attributes:
        name: Its name in the store.
    """

    def __init__(self, connection: Connection, name: str):
        self._connection, self.name = connection, name

    table = property(only_at_store("Collection.table"))
    warm = only_at_store("Collection.warm")
    warm_facts = property(only_at_store("Collection.warm_facts"))
    cool = only_at_store("Collection.cool")

    # -- what it holds ----------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of tiles."""
        return self.summary().tiles

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self._facts["dim"]

    @property
    def record(self) -> "CollectionRecord":
        """The configuration and the extractor that made it."""
        from embedstore.store import CollectionRecord

        return CollectionRecord.from_record(self._facts["record"])

    @property
    def tiling(self) -> TilingConfig:
        """How its slides were cut into tiles."""
        return TilingConfig(**self._facts["record"]["tiling"])

    @property
    def slides(self) -> dict[str, int]:
        """{slide: number of its tiles}; every slide listed is complete."""
        return self._get("slides")

    def summary(self) -> CollectionSummary:
        """What it holds, in numbers."""
        facts = self._get()
        return CollectionSummary(**{name: facts[name] for name in CollectionSummary.__dataclass_fields__})

    def tiles(
        self,
        *,
        slide_id: str | None = None,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> Table:
        """Tiles, a row each, in the order of slides; arguments and errors as of `embedstore.Collection.tiles`."""
        names = None if columns is None else list(columns)
        if names is not None and "vector" in names:
            rows = self._vectors(where, slide_id=slide_id, columns=names, most=limit)
        else:
            rows = self._connection.table(
                self._path("tiles"), most=limit, slide_id=slide_id, where=where, columns=names
            )  # fmt: skip
        return Table(rows, title=f"tiles of {self.name}")

    def vectors(self, *, where: str | None = None) -> NDArray[np.float16]:
        """(n, dim) float16 embeddings, in the order of `tiles` with the same `where`."""
        column = self._vectors(where, columns=["vector"])["vector"].combine_chunks()
        return column.flatten().to_numpy().astype(np.float16, copy=False).reshape(-1, self.dim)

    def _vectors(
        self, where: str | None, *, columns: Sequence[str], slide_id: str | None = None, most: int | None = None
    ) -> pa.Table:
        return self._connection.table(
            self._path("vectors"), most=most, slide_id=slide_id, where=where, columns=list(columns)
        )

    def contact_sheet(
        self, rows: Sequence[dict[str, Any]] | Table | None = None, *, tiles: int = 24, seed: int = 0
    ) -> "Image.Image":
        """A picture of some tiles of the collection; arguments as of `embedstore.Collection.contact_sheet`."""
        from embedstore.export import contact_sheet, tile_captions

        title = f"tiles in {self.name}" if not isinstance(rows, Table) or not rows.title else rows.title
        if rows is None:
            count = len(self)
            title = f"{count} {title}"
            chosen = np.sort(np.random.default_rng(seed).choice(count, min(tiles, count), replace=False))
            rows = pa.concat_tables(
                self._connection.table(self._path("tiles"), most=1, start=position) for position in chosen.tolist()
            ).to_pylist()
        rows = given_tile_rows(rows)
        return contact_sheet(list(map(np.asarray, self.pictures(rows))), tile_captions(rows), title=title)

    def pictures(self, rows: Sequence[dict[str, Any]] | Table) -> "list[Image.Image]":
        """Pictures of tiles as the extractor saw them, as JPEG; arguments as of `embedstore.Collection.pictures`."""
        return pictures_of(self._connection, self.name, [row["tile_id"] for row in given_tile_rows(rows)])

    # -- search -----------------------------------------------------------------------------

    def search(
        self,
        query: Any,
        config: SearchConfig | None = None,
        *,
        more_like: Sequence[Any] = (),
        away_from: Sequence[Any] = (),
        away_weight: float = AWAY_WEIGHT,
        **settings: Any,
    ) -> RemoteSearchResult:
        """Find the tiles that are nearest to a query; arguments and errors as of `embedstore.Collection.search`.

        A file is read on this machine: the vector, or the bytes of the image, are sent.
        """
        config = build_config(SearchConfig, config, **settings)
        body = {
            "query": self._example(query),
            "more_like": [self._example(positive) for positive in more_like],
            "away_from": [self._example(negative) for negative in away_from],
            "away_weight": away_weight,
            "k": config.k,
            "where": config.where,
            "exclude_same": config.exclude_same,
            "per_slide": config.per_slide,
            "diverse": config.diverse,
            "columns": list(config.columns),
            "index_search": vars(config.index_search),
        }
        rows, facts = self._connection.post_for_table(self._path("search"), body)
        found = RemoteQuery.of_search(facts, picture=_picture_of(query))
        return RemoteSearchResult(self._connection, self.name, found, rows, facts["note"])

    def search_many(
        self,
        queries: Any,
        *,
        k: int = 10,
        where: str | None = None,
        exclude_same: Literal["slide", "patient"] | None = None,
        columns: Sequence[str] = (),
        on_progress: OnProgress | None = None,
    ) -> Table:
        """Find the tiles that are nearest to each of many queries; as `embedstore.Collection.search_many`.

        They are sent in parts. A file is read on this machine.
        """
        config = build_config(SearchConfig, None, k=k, where=where, exclude_same=exclude_same, columns=columns)
        asked = query_columns(queries)
        most = max(1, min(MOST_QUERIES, MOST_ROWS // config.k, MOST_QUERY_BYTES // max(asked.nbytes // len(asked), 1)))
        parts = []
        with progress_bar(on_progress) as report:
            for start in range(0, len(asked), most):
                rows = self._connection.table_for_table(
                    self._path("search-many"), asked.slice(start, most), k=config.k, where=config.where,
                    exclude_same=config.exclude_same, columns=list(config.columns),
                )  # fmt: skip
                number = rows.column_names.index("query")
                parts.append(rows.set_column(number, rows.field("query"), pc.add(rows["query"], start)))
                done = min(start + most, len(asked))
                report(Progress(stage="search", done=done, total=len(asked), unit="queries"))
        return Table(pa.concat_tables(parts), title=f"nearest to {len(asked):,} queries")

    def query_by_image(
        self, image: str | Path | NDArray[np.uint8], *, mpp: float | None = None, trust_extractor: bool = False
    ) -> RemoteQuery:
        """A query by an image file of this machine, embedded by the service with the collection's own extractor.

        Arguments and errors as of `embedstore.Collection.query_by_image`; whether the function of a user is run, the
        service decides.
        """
        picture = Path(image) if isinstance(image, str | Path) else None
        record = self._connection.post_bytes(
            self._path("embed"), image_bytes(image), kind="application/octet-stream", reads=True, mpp=mpp
        )
        title = record["title"] if picture is None else record["title"].replace("an image", f"image {picture.name}", 1)
        vector = np.array(record["vector"], np.float32)
        return RemoteQuery(vector=vector, title=title, picture=picture)

    def query_by_text(self, text: str | Sequence[str], *, trust_extractor: bool = False) -> RemoteQuery:
        """A query by words, embedded by the service with the text tower of the collection's extractor.

        Arguments and errors as of `embedstore.Collection.query_by_text`; whether the function of a user is run, the
        service decides.
        """
        record = self._connection.post(self._path("embed-text"), {"texts": list(given_texts(text))}, reads=True)
        return RemoteQuery(vector=np.array(record["vector"], np.float32), title=record["title"])

    def query_by_vector(self, vector: NDArray[np.floating] | str | Path) -> RemoteQuery:
        """A query by a vector: an array, or a file of numbers of this machine as .npy, .csv, .txt or .json."""
        return self._query(vector_example(vector, collection=self.name))

    def query_by_region(self, slide_id: str, box_l0: tuple[int, int, int, int]) -> RemoteQuery:
        """A query by the tiles whose centre lies in a box (x, y, width, height) of level-0 pixels."""
        return self._query({"slide_id": slide_id, "region": list(box_l0)})

    def query_by_label(self, task: str, label: str) -> RemoteQuery:
        """A query by the mean of the tiles that are labelled with a class of a task."""
        return self._query({"task": task, "label": label})

    def _query(self, example: dict[str, Any]) -> RemoteQuery:
        return RemoteQuery.from_record(self._connection.post(self._path("query"), example, reads=True))

    def _example(self, given: Any) -> dict[str, Any]:
        example = as_example(given, collection=self.name)
        if isinstance(example, Path):
            example = as_example(self.query_by_image(example), collection=self.name)
        assert isinstance(example, dict)
        return example

    def similar_slides(
        self,
        slide_id: str,
        *,
        k: int = 10,
        encoder: str | None = None,
        where: str | None = None,
        exclude_same_patient: bool = False,
    ) -> Table:
        """Slides similar to a slide; arguments and errors as of `embedstore.Collection.similar_slides`."""
        rows = self._connection.table(
            self._path("similar-slides"), slide_id=slide_id, k=k, encoder=encoder, where=where,
            exclude_same_patient=exclude_same_patient,
        )  # fmt: skip
        return Table(rows, title=f"slides like {slide_id}")

    def filter_columns(self) -> dict[str, str]:
        """{column that `where` may name: where it comes from}."""
        return self._get("filter-columns")

    def suggest(self, config: "SuggestConfig | None" = None, *, task: str | None = None, **settings: Any) -> NotedTable:
        """Propose tiles to be labelled first, where there is no head yet; as `embedstore.Collection.suggest`.

        A pool is 1 to 50,000 tiles.
        """
        from heads.config import SuggestConfig

        config = build_config(SuggestConfig, config, **settings)
        return noted_table(self._connection, self._path("suggest"), {**vars(config), "task": task})

    # -- map --------------------------------------------------------------------------------

    def make_map(
        self,
        config: "MapConfig | None" = None,
        *,
        rebuild: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> "MapFacts":
        """Lay its tiles out in two dimensions; arguments and errors as of `embedstore.Collection.make_map`.

        The service does it as a job; Ctrl-C cancels that.
        """
        from embedstore.map_record import MapFacts

        body = {"rebuild": rebuild, **plain_settings(config, settings)}
        return MapFacts.from_record(
            run_job(self._connection, self._connection.post(self._path("map"), body), on_progress)
        )

    def remove_map(self) -> None:
        """Remove its map; errors as of `embedstore.Collection.remove_map`."""
        self._connection.delete(self._path("map"))

    def map(self) -> Table:
        """The tiles on its map, a row each; as `embedstore.Collection.map`."""
        from embedstore.maps import COLUMNS

        return Table(self._map().rows.select(COLUMNS), title=f"map of {self.name}")

    @property
    def map_facts(self) -> "MapFacts | None":
        """How its map was made, and what is on it; None where there is none."""
        try:
            return self._map().facts
        except MapNotFoundError:
            return None

    def map_colours(self, by: str) -> "MapColours":
        """A value or class for each tile of `map`; arguments and errors as of `embedstore.Collection.map_colours`."""
        from embedstore.maps import colours_from_bytes

        return colours_from_bytes(
            self._connection.get_bytes(self._path("map", "colours"), accept=SAFETENSORS, by=by)
        )  # fmt: skip

    def map_picture(self, *, color_by: str | None = None, picture_px: int = 1200) -> "Image.Image":
        """Its map as a picture; arguments and errors as of `embedstore.Collection.map_picture`."""
        from embedstore.maps import map_picture

        colours = None if color_by is None else self.map_colours(color_by)
        return map_picture(self._map(), colours, title=f"map of {self.name}", picture_px=picture_px)

    def _map(self) -> "TileMap":
        from embedstore.maps import map_from_bytes

        return map_from_bytes(self._connection.get_bytes(self._path("map"), accept=SAFETENSORS))

    # -- slide encoders ---------------------------------------------------------------------

    def encode_slides(
        self,
        encoder: str = "mean",
        config: "VisualWordsConfig | None" = None,
        *,
        name: str | None = None,
        slides: Sequence[str] = (),
        rebuild: bool = False,
        codebook_of: str | None = None,
        device: str = "auto",
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> "Encoded":
        """Turn the tile vectors of each slide into one vector.

        Arguments and errors as of `embedstore.Collection.encode_slides`, but only the built-in encoders, which use no
        device. The service does it as a job; Ctrl-C cancels that.
        """
        from embedstore.encoder_config import BUILTIN_ENCODERS
        from embedstore.encoding_record import Encoded, EncodingRecord

        if ":" in encoder:
            raise OnlyAtStoreError(
                f"over HTTP, slides are encoded by {' or '.join(BUILTIN_ENCODERS)} alone, and no function is run; "
                f"run `embedstore encode-slides --encoder {encoder}` where the store's files are"
            )
        body = {
            "encoder": encoder, "name": name, "slides": list(as_names(slides)), "rebuild": rebuild,
            "codebook_of": codebook_of, "settings": plain_settings(config, settings),
        }  # fmt: skip
        job = self._connection.post(
            self._path("encodings"), {name: value for name, value in body.items() if value}
        )  # fmt: skip
        done = run_job(self._connection, job, on_progress)
        record = None if done["record"] is None else EncodingRecord.from_record(done["record"])
        texts = {name: tuple(done[name]) for name in ("encoded", "notes")}
        return Encoded(**{**done, **texts, "record": record})

    @property
    def encodings(self) -> "dict[str, EncodingFacts]":
        """{name: how the vectors of its slides were made, and how many slides have one}."""
        from embedstore.encoding_record import EncodingFacts, EncodingRecord

        return {
            name: EncodingFacts(**{**facts, "record": EncodingRecord.from_record(facts["record"])})
            for name, facts in self._get("encodings").items()
        }

    def slide_vectors(self, encoder: str) -> Table:
        """The vectors of its slides by an encoding, by id; errors as of `embedstore.Collection.slide_vectors`."""
        rows = self._connection.table(self._path("encodings", encoder, "vectors"))
        return Table(rows.sort_by("slide_id"), title=f"slides of {self.name} by {encoder}")

    def remove_encoding(self, encoder: str) -> None:
        """Remove the vectors of its slides by an encoding; errors as of `embedstore.Collection.remove_encoding`."""
        self._connection.delete(self._path("encodings", encoder))

    # -- checks -----------------------------------------------------------------------------

    def find_leaks(
        self,
        *,
        head: str | None = None,
        distance: float | None = None,
        sample: int = 2000,
        on_progress: OnProgress | None = None,
    ) -> "Leaks":
        """Near-duplicate tiles of different patients, or in different parts of a head's split.

        Arguments and errors as of `embedstore.Collection.find_leaks`; a sample is 1 to 20,000 tiles. The service does
        it as a job; Ctrl-C cancels that.
        """
        from embedstore.search import Leaks
        from embedstore.search.audits.leaks import PAIRS

        found = self._check("leaks", on_progress, head=head, distance=distance, sample=sample)
        pairs = [_with_ids(row) for row in found.pop("pairs")]
        return Leaks(pairs=pa.Table.from_pylist(pairs, schema=PAIRS), **found)

    def find_duplicates(
        self, *, distance: float | None = None, sample: int = 2000, on_progress: OnProgress | None = None
    ) -> "Duplicates":
        """Slides that are in the collection under two names. Arguments as in `find_leaks`."""
        from embedstore.search import Duplicates, DuplicateSlides

        found = self._check("duplicates", on_progress, distance=distance, sample=sample)
        return Duplicates(pairs=tuple(DuplicateSlides(**pair) for pair in found.pop("pairs")), **found)

    def find_outliers(self, *, sample: int = 2000, on_progress: OnProgress | None = None) -> "Outliers":
        """Tiles far from all tiles of other slides, such as artefacts. Arguments as in `find_leaks`."""
        from embedstore.search import Outliers

        found = self._check("outliers", on_progress, sample=sample)
        tables = {name: pa.Table.from_pylist(list(map(_with_ids, found.pop(name)))) for name in ("tiles", "slides")}
        return Outliers(**tables, **found)

    def _check(self, what: str, on_progress: OnProgress | None, **settings: Any) -> dict[str, Any]:
        body = {name: value for name, value in settings.items() if value is not None}
        job = self._connection.post(self._path("check"), {"what": what, **body})
        found = run_job(self._connection, job, on_progress)
        return {**found, "notes": tuple(found["notes"])}

    # -- export -----------------------------------------------------------------------------

    def export(
        self,
        path: str | Path,
        *,
        format: "ExportFormat | None" = None,
        slides: Sequence[str] = (),
        where: str | None = None,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> "ExportResult":
        """Write its embeddings on this machine; arguments and errors as of `embedstore.Collection.export`."""
        return export_over(
            self._connection, path, format=format, collection=self.name, slides=slides, where=where,
            on_progress=on_progress, **settings,
        )  # fmt: skip

    # -- upkeep -----------------------------------------------------------------------------

    @property
    def index(self) -> "IndexFacts":
        """Facts about the search index."""
        from embedstore.store import IndexFacts

        return IndexFacts(**self._get()["index"])

    @property
    def index_choice(self) -> Literal["auto", "ivf_rq", "flat"]:
        """Which kind of index the collection is to have; see `update_index`."""
        return self._get()["index_choice"]

    def update_index(
        self,
        *,
        kind: Literal["auto", "ivf_rq", "flat"] | None = None,
        partitions: int | None = None,
        bits: int | None = None,
        rebuild: bool = False,
        on_progress: OnProgress | None = None,
    ) -> "IndexFacts":
        """Bring the search index up to date, or choose another kind, which the collection remembers.

        Arguments and errors as of `embedstore.Collection.update_index`. The service does it as a job.
        """
        from embedstore.store import IndexFacts

        body = {"kind": kind, "partitions": partitions, "bits": bits, "rebuild": rebuild or None}
        job = self._connection.post(
            self._path("index"), {name: value for name, value in body.items() if value is not None}
        )
        return IndexFacts(**run_job(self._connection, job, on_progress))

    def _path(self, *parts: str | int) -> str:
        return path("collections", self.name, *parts)

    def _get(self, *parts: str | int) -> Any:
        return self._connection.get(self._path(*parts))

    @cached_property
    def _facts(self) -> dict[str, Any]:
        """What does not change."""
        return self._get()

    def __repr__(self) -> str:
        summary = self.summary()
        return (
            f"<Collection {self.name!r}: {summary.tiles:,} tiles of {summary.slides:,} slides, {summary.dim} "
            f"dimensions, at {self._connection.url}>"
        )

    def _repr_html_(self) -> str:
        summary = self.summary()
        return card(
            f"Collection {self.name}",
            {
                "extractor": summary.extractor,
                "tiles": f"{summary.tiles:,} of {summary.slides:,} slides",
                "tiling": f"{summary.tile_px} px at {summary.mpp:g} µm/px, {summary.downsample}",
                "vectors": f"{summary.dim} dimensions, {human_bytes(summary.bytes)}",
            },
        )


def _picture_of(query: Any) -> Path | None:
    """The image file of a query."""
    if isinstance(query, str | Path):
        return Path(query) if Path(query).suffix.lower() not in FORMATS else None
    return getattr(query, "picture", None)


def _with_ids(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON with the ids of tiles as numbers."""
    return {name: int(value) if name.endswith("tile_id") else value for name, value in row.items()}
