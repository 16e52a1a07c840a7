"""A collection: the embeddings of one extractor under one tiling, to be searched, checked and exported."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from embedstore.access_errors import tells_access_errors
from embedstore.api.exporting import write_export
from embedstore.api.search_result import SearchResult
from embedstore.api.warm import Warm
from embedstore.arguments import checks_arguments
from embedstore.collection_summary import TILE_COLUMNS, CollectionSummary
from embedstore.config import TilingConfig
from embedstore.errors import ConfigError, SlideNotInStoreError
from embedstore.progress import OnProgress
from embedstore.progress_bar import progress_bar
from embedstore.quantities import human_bytes
from embedstore.result_table import NotedTable, Table, card
from embedstore.search_config import AWAY_WEIGHT, SearchConfig
from embedstore.settings import as_names, build_config
from embedstore.store import Collection as CollectionTable
from embedstore.store import Store as StoreTables
from embedstore.tile_rows import given_tile_rows

if TYPE_CHECKING:
    from PIL import Image

    from embedstore.encoder_config import VisualWordsConfig
    from embedstore.encoding_record import Encoded, EncodingFacts
    from embedstore.export import ExportFormat, ExportResult
    from embedstore.map_config import MapConfig
    from embedstore.map_record import MapFacts
    from embedstore.maps import MapColours
    from embedstore.search import Duplicates, Leaks, Outliers, Query
    from embedstore.search.hot import WarmFacts
    from embedstore.store import CollectionRecord, IndexFacts
    from heads.config import SuggestConfig


@tells_access_errors
@checks_arguments
class Collection:
    """One table of embeddings.

    Attributes:
        name: Its name in the store.
    """

    def __init__(self, tables: StoreTables, table: CollectionTable, warm: Warm | None = None):
        self._tables, self._table = tables, table
        self._warm = warm or Warm()
        self.name = table.name

    @property
    def table(self) -> CollectionTable:
        """Its table, for programs that work below this API."""
        return self._table

    # -- what it holds ----------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self._table)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self._table.dim

    @property
    def record(self) -> "CollectionRecord":
        """The configuration and the extractor that made it."""
        return self._table.record()

    @property
    def tiling(self) -> TilingConfig:
        """How its slides were cut into tiles."""
        return self._table.tiling()

    @property
    def slides(self) -> dict[str, int]:
        """{slide: number of its tiles}; every slide listed is complete."""
        return self._table.slides()

    def summary(self) -> CollectionSummary:
        """What it holds, in numbers."""
        record, views, slides = self._table.record(), self._tables.views(self.name), self.slides
        map_tiles, slides_off_map = self._tables.map(self.name).coverage(slides)
        return CollectionSummary(
            name=self.name,
            table=self._tables.table_name(self.name),
            extractor=record.extractor.ref.name,
            digest=record.extractor.ref.digest,
            dim=self.dim,
            tile_px=record.tiling.tile_px,
            mpp=record.tiling.mpp,
            downsample=record.tiling.downsample,
            slides=len(slides),
            tiles=len(self),
            views=views.config().count if views.exists() else 0,
            slides_with_views=len(views.slides()),
            map_tiles=map_tiles,
            slides_off_map=slides_off_map,
            bytes=self._table.vectors_bytes(),
            version=self._table.dataset().version,
            text="text" in record.extractor.details,
        )

    def tiles(
        self,
        *,
        slide_id: str | None = None,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> Table:
        """Tiles, a row each, in the order of slides.

        Args:
            slide_id: Only tiles of this slide.
            where: Only tiles that fulfil this SQL, as of a search, such as "tissue > 0.9 AND slide_id = 'a.svs'";
                `filter_columns` lists what it may name.
            columns: Names of the columns; `TILE_COLUMNS` when None.
            limit: Largest number of rows.
        Raises:
            ConfigError: `where` is not a valid condition.
        """
        from embedstore.search.filters import filter_tiles

        rows = filter_tiles(
            self._tables, self._table, where, slide_id=slide_id, columns=columns or TILE_COLUMNS, limit=limit
        )
        return Table(rows, title=f"tiles of {self.name}")

    def vectors(self, *, where: str | None = None) -> NDArray[np.float16]:
        """(n, dim) float16 embeddings, in the order of `tiles` with the same `where`."""
        from embedstore.search.filters import filter_tiles
        from embedstore.store.vectors import matrix

        column = filter_tiles(self._tables, self._table, where, columns=["vector"])["vector"].combine_chunks()
        return matrix(column, self.dim).astype(np.float16, copy=False)

    def pictures(self, rows: Sequence[dict[str, Any]] | Table) -> "list[Image.Image]":
        """Pictures of tiles as the extractor saw them, read again from their slides.

        Args:
            rows: Rows of `tiles` or of a search, as dictionaries or as a table of Arrow, pandas or polars.
        Raises:
            ConfigError: they are no such rows.
            SlideNotFoundError: a slide is no longer where it was ingested from.
        """
        from PIL import Image

        from embedstore.export import tile_pictures

        return [Image.fromarray(pixels) for pixels in tile_pictures(self._tables, self.name, given_tile_rows(rows))]

    def contact_sheet(
        self, rows: Sequence[dict[str, Any]] | Table | None = None, *, tiles: int = 24, seed: int = 0
    ) -> "Image.Image":
        """A picture of some tiles of the collection.

        Args:
            rows: Rows of `tiles`, of a search, of what is suggested, as of `pictures`; tiles drawn at random when None.
            tiles: Number of tiles to draw.
            seed: The same seed draws the same tiles.
        Raises:
            SlideNotFoundError: a slide is no longer where it was ingested from.
        """
        from embedstore.export import contact_sheet, tile_captions, tile_pictures

        title = f"tiles in {self.name}" if not isinstance(rows, Table) or not rows.title else rows.title
        if rows is None:
            table = self._table.tiles(columns=TILE_COLUMNS)
            title = f"{len(table)} {title}"
            chosen = np.sort(np.random.default_rng(seed).choice(len(table), min(tiles, len(table)), replace=False))
            rows = table.take(chosen).to_pylist()
        rows = given_tile_rows(rows)
        pictures = tile_pictures(self._tables, self.name, rows)
        return contact_sheet(pictures, tile_captions(rows), title=title)

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
    ) -> SearchResult:
        """Find the tiles that are nearest to a query, by the cosine of their embeddings.

        The query's own tiles are left out. A filter holds before the search: the nearest of the tiles that pass are
        found.

        Args:
            query: A tile's id, a row of a table, (slide, x, y) in level-0 pixels, a vector, the path of an image or of
                a file with a vector, or a `Query` from `query_by_text`, `query_by_image`, `query_by_region` or
                `query_by_label`.
            config: Which neighbours to return; the defaults when None.
            more_like: Queries of the same kinds, to whose mean with it the query is moved.
            away_from: Queries of the same kinds, from which the query is moved away.
            away_weight: How far, 0 or more.
            settings: Fields of `SearchConfig`, such as k=20, where="cohort = 'A'" (`filter_columns` lists what it may
                name), exclude_same="patient", per_slide=1, diverse=0.5 or columns=("stain",).
        Raises:
            QueryError: the query cannot be used, or the collection is empty.
            TileNotFoundError: there is no such tile.
            ConfigError: a filter, column or setting that does not exist.
            VectorError: a vector of another length.
        """
        from embedstore.search import away_from as move_away
        from embedstore.search import more_like as move_to_mean
        from embedstore.search import search, to_query

        config = build_config(SearchConfig, config, **settings)
        warm = self._warm.get(self.name)
        tile_of = None if warm is None else warm.tile
        with contextlib.nullcontext() if warm is None else warm.turns:
            asked, positives, negatives = (
                [to_query(self._tables, self._table, example, tile_of=tile_of) for example in examples]
                for examples in ([query], more_like, away_from)
            )
            moved = move_away(move_to_mean(asked[0], positives), negatives, weight=away_weight)
            return SearchResult(search(self._tables, self._table, moved, config, warm=warm))

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
        """Find the tiles that are nearest to each of many queries, with all cores.

        Each query's own tile is left out. For thousands of queries, call `warm` before: 10,000 then take about two
        seconds.

        Args:
            queries: (n, dim) vectors; n ids of tiles; a table of Arrow, pandas or polars with a column `tile_id` or
                `vector`; or the path of such a file: .npy, .parquet, .csv or .xlsx.
            k: Neighbours of each.
            where: Only tiles that fulfil this SQL; see `search`.
            exclude_same: Leave out tiles of the query's own slide, or of all slides of its patient; for ids of tiles.
            columns: Columns of slides to show beside each neighbour.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Returns:
            A row for each neighbour, the nearest of each query first: query, counted from 0; query_tile_id, where the
            queries are tiles; rank, from 1; distance, 1 - cosine; and the tile's columns as of `search`.
        Raises:
            QueryError: the queries cannot be used, or the collection is empty.
            TileNotFoundError: there is no such tile.
            ConfigError: a filter, column or setting that does not exist.
            VectorError: vectors of another length, or without direction.
        """
        from embedstore.search import many_queries, search_many

        config = build_config(SearchConfig, None, k=k, where=where, exclude_same=exclude_same, columns=columns)
        collection = self._table.pinned()
        asked = many_queries(collection, queries)
        with progress_bar(on_progress) as report:
            warm = self._warm.get(self.name)
            rows = search_many(self._tables, collection, asked, config, warm=warm, on_progress=report)
        return Table(rows, title=f"nearest to {len(asked):,} queries")

    def warm(
        self, *, folder: str | Path | None = None, wait: bool = True, on_progress: OnProgress | None = None
    ) -> "WarmFacts":
        """Keep short codes of its vectors in memory and a copy of the vectors in a file, so that searches are fast.

        A process that searches often gains by it: a search takes less than a millisecond. The first call reads the
        whole collection, 1,000,000 tiles in about 20 seconds on two cores; the next process takes what this one left
        in the folder. A thread keeps up with the collection: until it has, after each change by whichever process, a
        search goes the way of a collection that is not warm. So a slide that was removed is never found, and a new
        one at once. Results are the same but for a few neighbours in a thousand, which the codes may miss; the
        distances are the same.

        Args:
            folder: For the copy, 2 bytes a value, outside the store; EMBEDSTORE_CACHE, or the user's folder for
                caches, when None. What was removed from the collection is overwritten there.
            wait: Return when it is ready; else at once, and searches are fast when it is.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Returns:
            What it takes: see `WarmFacts`.
        Raises:
            ConfigError: faiss-cpu is not installed, or the folder cannot be written to or has no room.
        """
        with progress_bar(on_progress) as report:
            return self._warm.warm(self._table, folder=folder, wait=wait, on_progress=report)

    @property
    def warm_facts(self) -> "WarmFacts | None":
        """What it takes to keep it warm; None where it is not."""
        warm = self._warm.get(self.name)
        return None if warm is None else warm.facts()

    def cool(self) -> None:
        """End what `warm` began and free its memory; the folder stays for the next process."""
        self._warm.cool(self.name)

    def query_by_image(
        self, image: "str | Path | NDArray[np.uint8]", *, mpp: float | None = None, trust_extractor: bool = False
    ) -> "Query":
        """A query by an image, embedded by the collection's own extractor.

        Args:
            image: A file, or (height, width, 3) uint8 RGB; at least one tile large.
            mpp: Its resolution, µm/px; the collection's when None.
            trust_extractor: Run a user's own function where the collection was made with one.
        Raises:
            QueryError: the file cannot be read, or is too small.
            CollectionMismatchError: the extractor that loads here is not the one that made the collection.
        """
        from embedstore.search import image_query

        return image_query(self._tables, self._table, image, mpp=mpp, trust_extractor=trust_extractor)

    def query_by_text(self, text: str | Sequence[str], *, trust_extractor: bool = False) -> "Query":
        """A query by words, where the collection's extractor has a text tower.

        Args:
            text: Words, such as "dense lymphocytes"; or several texts that say the same, whose mean is the query.
            trust_extractor: Run a user's own function where the collection was made with one.
        Raises:
            QueryError: a text is empty, or longer than the text tower takes.
            ExtractorError: the extractor has no text tower.
            CollectionMismatchError: the extractor or the text tower that loads here is not the one that made the
                collection.
        """
        from embedstore.search import text_query

        return text_query(self._table, text, trust_extractor=trust_extractor)

    def query_by_vector(self, vector: NDArray[np.floating] | str | Path) -> "Query":
        """A query by a vector: an array, or a file of numbers as .npy, .csv, .txt or .json.

        Raises:
            QueryError: the file cannot be read.
            VectorError: the vector has another length than the collection's.
        """
        from embedstore.search import vector_query

        return vector_query(self._table, vector)

    def query_by_region(self, slide_id: str, box_l0: tuple[int, int, int, int]) -> "Query":
        """A query by the tiles whose centre lies in a box (x, y, width, height) of level-0 pixels.

        Raises:
            TileNotFoundError: no tile lies there.
        """
        from embedstore.search import region_query

        return region_query(self._tables, self._table, slide_id, box_l0)

    def query_by_label(self, task: str, label: str) -> "Query":
        """A query by the mean of the tiles that are labelled with a class of a task.

        Raises:
            TaskNotFoundError, LabelError: no tile of the collection has such a label.
        """
        from embedstore.search import prototype_query

        return prototype_query(self._tables, self._table, task, label)

    def similar_slides(
        self,
        slide_id: str,
        *,
        k: int = 10,
        encoder: str | None = None,
        where: str | None = None,
        exclude_same_patient: bool = False,
    ) -> Table:
        """Slides similar to a slide, the most similar first.

        Args:
            slide_id: It is left out of the result.
            k: How many slides.
            encoder: Compare the vectors of slides of this encoding, which `encode_slides` made, by cosine; when None,
                a few representative tiles of the slide with their best matches, by the median distance.
            where: Only slides that fulfil this SQL.
            exclude_same_patient: Leave out other slides of the same patient.
        Raises:
            SlideNotInStoreError: the collection does not have the slide.
            EncodingNotFoundError: there is no such encoding, or it does not have the slide yet.
        """
        from embedstore.search import similar_encoded_slides, similar_slides

        only = {"where": where, "exclude_same_patient": exclude_same_patient}
        try:
            if encoder is None:
                rows = similar_slides(self._tables, self._table, slide_id, k=k, **only)  # type: ignore[arg-type]
            else:
                rows = similar_encoded_slides(self._tables, self._table, slide_id, encoder, k=k, **only)  # type: ignore[arg-type]
        except SlideNotInStoreError:
            self._tables.ledger.resolve_slides(slides=[slide_id])  # where the store has no such slide, it names others
            raise
        return Table(rows, title=f"slides like {slide_id}")

    def filter_columns(self) -> dict[str, str]:
        """{column that `where` may name: where it comes from}."""
        from embedstore.search import filter_columns

        return filter_columns(self._tables, self._table)

    def suggest(self, config: "SuggestConfig | None" = None, *, task: str | None = None, **settings: Any) -> NotedTable:
        """Propose tiles to be labelled first, where there is no head yet: typical ones, spread over slides.

        With a head, `Head.suggest` knows what it is uncertain of.

        Args:
            config: How they are chosen; the defaults when None.
            task: Tiles that its labels are about already are left out; it may have none.
            settings: Fields of `SuggestConfig`, such as n=20, strategy="diverse" or where="cohort = 'A'".
        Returns:
            A row a tile, as of `Head.suggest`; what only a head knows is null.
        Raises:
            ConfigError: the strategy needs a head or a task, `where` is not a valid condition, or a setting that does
                not exist.
            LabelError: tiles near to labelled ones are asked for, and there are none.
            QueryError: the collection is empty.
        """
        from heads.active import suggest_tiles
        from heads.config import SuggestConfig

        config = build_config(SuggestConfig, config, **settings)
        found = suggest_tiles(self._tables, self._table, config, task=task)
        return NotedTable(found.table, title=found.title, notes=found.notes)

    # -- map --------------------------------------------------------------------------------

    def make_map(
        self,
        config: "MapConfig | None" = None,
        *,
        rebuild: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> "MapFacts":
        """Lay its tiles out in two dimensions, and keep the map in the store: tiles that look alike lie together.

        Where there is a map, only what came after it is placed, beside the tiles that it resembles; nothing else moves.
        Slides that are removed are gone from it at once. Of more than 100,000 tiles a sample is on the map, drawn
        evenly over the slides. 100,000 tiles take a few minutes on two cores.

        Args:
            config: How it is made; the defaults when None.
            rebuild: Make it anew where there is one.
            on_progress: See `embedstore.progress`; a progress bar when None.
            settings: Fields of `MapConfig`, such as tiles=20_000, seed=1 or method="pca".
        Returns:
            How it was made, and what is on it.
        Raises:
            ConfigError: too few tiles; pacmap is not installed; a setting that does not exist, or that differs from
                those of the map that there is.
            StoreBusyError: another process is writing to the map.
        """
        from embedstore.map_config import MapConfig
        from embedstore.maps import make_map

        self._tables.require_writable()
        given = build_config(MapConfig, config, **settings) if config is not None or settings else None
        with progress_bar(on_progress) as report:
            return make_map(self._tables, self._table, given, rebuild=rebuild, on_progress=report)

    def remove_map(self) -> None:
        """Remove its map; `make_map` makes another.

        Raises:
            MapNotFoundError: there is none.
            StoreBusyError: another process is writing to the map.
        """
        held = self._tables.map(self.name)
        held.record()
        held.drop()

    def map(self) -> Table:
        """The tiles on its map, a row each: tile_id, slide_id, and map_x and map_y, about -1 to 1.

        Raises:
            MapNotFoundError: there is none; `make_map` makes it.
        """
        from embedstore.maps import COLUMNS, read_map

        return Table(read_map(self._tables, self._table).rows.select(COLUMNS), title=f"map of {self.name}")

    @property
    def map_facts(self) -> "MapFacts | None":
        """How its map was made, and what is on it; None where there is none."""
        from embedstore.maps import read_map

        return read_map(self._tables, self._table).facts if self._tables.map(self.name).exists() else None

    def map_colours(self, by: str) -> "MapColours":
        """A value or class for each tile of `map`, in the same order.

        Args:
            by: `slide`; `patient`; `label:TASK`; `head:NAME`: the probability of the class that is looked for, of a
                head of more classes the class, of a head for slides the attention; or any column of `filter_columns`.
        Raises:
            MapNotFoundError: there is no map.
            ConfigError: there is no such column.
            TaskNotFoundError, HeadNotFoundError, PredictionsNotFoundError: no such task or head, or it has predicted
                nothing.
        """
        from embedstore.maps import map_colours, read_map

        return map_colours(self._tables, self._table, read_map(self._tables, self._table), by)

    def map_picture(self, *, color_by: str | None = None, picture_px: int = 1200) -> "Image.Image":
        """Its map as a picture, a point for each tile, with a key to the colours.

        Args:
            color_by: As `by` of `map_colours`; all points alike when None.
            picture_px: Edge of the square with the points, pixels.
        Raises:
            As `map_colours`.
        """
        from embedstore.maps import map_colours, map_picture, read_map

        tiles = read_map(self._tables, self._table)
        colours = None if color_by is None else map_colours(self._tables, self._table, tiles, color_by)
        return map_picture(tiles, colours, title=f"map of {self.name}", picture_px=picture_px)

    # -- vectors of slides ------------------------------------------------------------------

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
        """Turn the tile vectors of each slide into one vector, and keep these beside the tiles.

        Slides that are encoded already are skipped, unless their tiles changed since; so the same call finishes an
        interrupted run, and encodes slides that were ingested later. A slide that fails is reported,
        and the run goes on.

        Args:
            encoder: `mean`; `visual-words`, the shares of the kinds of tiles that a codebook tells apart, which is
                fitted to the collection once and kept; or a function of your own, as module:function or
                file.py:function, which makes a `embedstore.encoders.CustomSlideEncoder`.
            config: How the codebook is fitted; the defaults when None.
            name: Name of the vectors in the store; the encoder's when None.
            slides: Only these; all of the collection when empty.
            rebuild: Make them anew where there are some.
            codebook_of: A collection of the same extractor, whose codebook of that name is used in place of a new one:
                a head then serves the slides of both.
            device: auto, cpu, cuda or cuda:N; of your own torch module.
            on_progress: See `embedstore.progress`; a progress bar when None.
            settings: Fields of `VisualWordsConfig`, such as words=64.
        Raises:
            UnknownEncoderError: there is no such encoder.
            ConfigError: settings that another encoder has, or too few tiles for the codebook.
            SlideNotInStoreError: a slide is not in the collection.
            EncoderMismatchError: vectors of that name were made with another encoder; or the encoder takes the vectors
                of another extractor, or of other tiles.
            EncodingNotFoundError: the other collection has no vectors of that name.
            StoreBusyError: another process is writing to them.
        """
        from embedstore.encoder_config import VisualWordsConfig
        from embedstore.encoders import encode_slides, load_encoder

        self._tables.require_writable()
        given = build_config(VisualWordsConfig, config, **settings) if config is not None or settings else None
        loaded = load_encoder(encoder, given, device=device)
        name = name or loaded.name
        other = None if codebook_of is None else self._tables.encoding(codebook_of, name)
        with progress_bar(on_progress) as report:
            return encode_slides(
                self._tables, self._table, loaded, name=name, slides=as_names(slides), rebuild=rebuild,
                codebook_of=other, on_progress=report,
            )  # fmt: skip

    @property
    def encodings(self) -> "dict[str, EncodingFacts]":
        """{name: how the vectors of its slides were made, and how many slides have one}, of each `encode_slides`."""
        from embedstore.store import slide_states

        tables = self._tables.encodings(self.name)
        states = slide_states(self._tables.ledger, self._table) if tables else {}
        return {table.encoder: table.facts(states) for table in tables}

    def slide_vectors(self, encoder: str) -> Table:
        """The vectors of its slides by an encoding, a row each, by id: slide_id, and vector as a list of float32.

        Raises:
            EncodingNotFoundError: there is none of that name; `encode_slides` makes it.
        """
        rows = self._tables.encoding(self.name, encoder).rows(self.slides)
        return Table(rows, title=f"slides of {self.name} by {encoder}")

    def remove_encoding(self, encoder: str) -> None:
        """Remove the vectors of its slides by an encoding; `encode_slides` makes others.

        Raises:
            EncodingNotFoundError: there is none of that name.
            StoreBusyError: another process is writing to them.
        """
        held = self._tables.encoding(self.name, encoder)
        held.record()
        held.drop()

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

        Args:
            head: Compare the parts of this head's split, not patients.
            distance: Cosine distance up to which two tiles count as the same; from the collection when None.
            sample: Number of tiles to check, spread evenly over slides; 0 checks all.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Raises:
            HeadNotFoundError: there is no such head.
            ConfigError: the head was fitted on another collection.
        """
        from embedstore.search import find_leaks

        split = None
        if head is not None:
            from heads.head_split import split_groups

            stored = self._tables.heads.get(head)
            if stored.collection != self.name:
                raise ConfigError(f"head {head} was fitted on collection {stored.collection}, not {self.name}")
            split = split_groups(self._tables, stored)
        with progress_bar(on_progress) as report:
            return find_leaks(
                self._tables, self._table, split=split, distance=distance, sample=sample, on_progress=report
            )

    def find_duplicates(
        self, *, distance: float | None = None, sample: int = 2000, on_progress: OnProgress | None = None
    ) -> "Duplicates":
        """Slides that are in the collection under two names. Arguments as in `find_leaks`."""
        from embedstore.search import find_duplicates

        with progress_bar(on_progress) as report:
            return find_duplicates(self._tables, self._table, distance=distance, sample=sample, on_progress=report)

    def find_outliers(self, *, sample: int = 2000, on_progress: OnProgress | None = None) -> "Outliers":
        """Tiles far from all tiles of other slides, such as artefacts. Arguments as in `find_leaks`."""
        from embedstore.search import find_outliers

        with progress_bar(on_progress) as report:
            return find_outliers(self._table, sample=sample, on_progress=report)

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
        """Write its embeddings.

        Args:
            path: The file.
            format: csv, parquet, slides (a row for each slide) or anndata; from the file's ending when None.
            slides: Only these.
            where: SQL over the slides' columns; only slides that it holds for.
            on_progress: See `embedstore.progress`; a progress bar when None.
            settings: Other fields of `ExportRequest`.
        Raises:
            ExportError: there is nothing to export in this format, or the path cannot be written to.
        """
        return write_export(
            self._tables, path, format=format, collection=self.name, slides=as_names(slides), where=where,
            on_progress=on_progress, **settings,
        )  # fmt: skip

    # -- upkeep -----------------------------------------------------------------------------

    @property
    def index(self) -> "IndexFacts":
        """Facts about the search index."""
        from embedstore.store import index_facts

        return index_facts(self._table)

    @property
    def index_choice(self) -> Literal["auto", "ivf_rq", "flat"]:
        """Which kind of index the collection is to have; see `update_index`."""
        from embedstore.store import index_choice

        return index_choice(self._table).kind

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

        Args:
            kind: `auto`, an index above 50,000 tiles; `ivf_rq`, always; `flat`, never: every vector is compared.
            partitions: Partitions of the index; the square root of the tiles by default.
            bits: Bits per dimension; 1 by default, or 2 below 128 dimensions.
            rebuild: Build it from scratch, unless `flat` was chosen.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Raises:
            ConfigError: partitions or bits for a collection that is to have no index.
            StoreBusyError: another process has been writing to the collection for longer than a commit takes.
        """
        from embedstore.store import IndexConfig, build_index, choose_index, index_choice, keep_index

        given = {"kind": kind, "partitions": partitions, "bits": bits}
        changes = {name: value for name, value in given.items() if value is not None}
        with self._tables.lease(self.name), progress_bar(on_progress) as report:
            choice = index_choice(self._table)
            if changes:
                config = IndexConfig(**{**dataclasses.asdict(choice), **changes})
                if config.kind == "flat" and changes.keys() != {"kind"}:
                    raise ConfigError(
                        f"collection {self.name} is to have no index, so there are no partitions or bits to choose; "
                        "add --kind ivf_rq or auto"
                    )
                return choose_index(self._table, config, on_progress=report)
            if rebuild and choice.kind != "flat":
                return build_index(self._table, on_progress=report)
            return keep_index(self._table, on_progress=report)

    def __repr__(self) -> str:
        return f"<Collection {self.name!r}: {len(self):,} tiles of {len(self.slides):,} slides, {self.dim} dimensions>"

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
