"""A store: everything that embedstore does with slides, labels, heads and searches starts here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import pyarrow as pa

from embedstore.access_errors import tells_access_errors
from embedstore.api.access_log import AccessLog
from embedstore.api.augmenter import Augmenter
from embedstore.api.collection import Collection
from embedstore.api.evaluating import evaluate_on
from embedstore.api.evaluations import Evaluations
from embedstore.api.exporting import write_export, write_layout
from embedstore.api.extractor_selection import ExtractorSelection
from embedstore.api.head import Head
from embedstore.api.importing import import_request, run_import
from embedstore.api.ingest import (
    DEFAULT_EXTRACTOR,
    IngestOptions,
    IngestResult,
    Slides,
    as_extractors,
    estimate_ingest,
    ingest_request,
    run_ingest,
)
from embedstore.api.labels import Labels
from embedstore.api.settings import fit_config
from embedstore.api.tokens import Tokens
from embedstore.api.warm import Warm
from embedstore.arguments import checks_arguments
from embedstore.config import ExecutionConfig, ReadingConfig, RunConfig, TissueConfig, ViewConfig
from embedstore.errors import ConfigError
from embedstore.progress import OnProgress
from embedstore.progress_bar import progress_bar
from embedstore.result_table import Table, card
from embedstore.settings import as_names, build_config
from embedstore.store import Store as StoreTables
from embedstore.store.compaction import compact
from embedstore.store.removal import remove_collection, remove_slides, remove_views
from embedstore.store.schema import OUTCOMES, RUNS
from embedstore.tile_rows import PLACE, check_tile_rows

if TYPE_CHECKING:
    from PIL import Image

    from actors.estimate import IngestEstimate
    from embedstore.export import ExportFormat, ExportResult
    from embedstore.export.layout_export import LayoutExportResult
    from embedstore.export_format import LayoutName
    from embedstore.extractors import ExtractorConfig
    from heads.config import AugmenterConfig, EvaluateConfig, FitConfig
    from heads.select import SelectConfig


#: What is read first of an outcome.
RUN_COLUMNS = ("run_id", "state", "collections", "slides", "done", "failed", "empty", "elsewhere", "tiles")
OUTCOME_COLUMNS = ("slide_id", "collection", "state", "tiles", "unreadable", "reason", "warnings")


@tells_access_errors
@checks_arguments
class Store:
    """A database of tile embeddings: a directory, or the URI of an object store.

    Attributes:
        labels: Its labels.
        tokens: Its tokens, by which a service knows who asks it.
        access_log: What was asked of it through a service, and by whom.
    """

    def __init__(self, tables: StoreTables):
        self._tables = tables
        self._warm = Warm()
        self.labels = Labels(tables)
        self.tokens = Tokens(tables)
        self.access_log = AccessLog(tables)

    @property
    def uri(self) -> str:
        """Its directory, or its URI in an object store."""
        return self._tables.uri

    # -- what it holds ----------------------------------------------------------------------

    @property
    def collections(self) -> list[Collection]:
        """Its collections, by name."""
        return [self.collection(name) for name in self._tables.collection_names()]

    def collection(self, name: str | None = None) -> Collection:
        """A collection by name; without a name, the only one.

        Raises:
            CollectionNotFoundError: there is none of that name.
            StoreError: no name was given, and there are several or none.
        """
        return Collection(self._tables, self._tables.collection(name), self._warm)

    @property
    def slides(self) -> Table:
        """Every slide, a row each, with the columns of the user's list."""
        columns = self._tables.ledger.slide_schema().names
        return Table(self._tables.ledger.slide_table(columns), title="slides")

    @property
    def status(self) -> Table:
        """The outcome for each slide in each collection: state, tiles, reader, seconds, and the reason of a failure."""
        return self.outcomes()

    def outcomes(
        self,
        *,
        collection: str | None = None,
        states: Sequence[Literal["done", "empty", "failed"]] = (),
        slide_id: str | None = None,
    ) -> Table:
        """The rows of `status` for one collection, some states, or one slide; first what became of each.

        Raises:
            CollectionNotFoundError: there is no such collection.
        """
        if collection is not None:
            self._tables.collection(collection)
        rows = self._tables.ledger.outcomes(collection=collection, states=states, slide_id=slide_id)
        table = pa.Table.from_pylist([outcome.as_record() for outcome in rows], schema=OUTCOMES)
        rest = [name for name in table.column_names if name not in ("key", *OUTCOME_COLUMNS)]
        return Table(table.select([*OUTCOME_COLUMNS, *rest]), title="outcomes")

    @property
    def runs(self) -> Table:
        """Every ingest that runs or ran, the newest first: its state, its progress, who runs it, and its settings.

        `state` is `running`, `done`, `stopped`, `failed`, or `lost` where its process died. The reasons of failed
        slides are in `outcomes`, by `run_id`.
        """
        runs = [run.as_seen() for run in self._tables.runs.all()]
        table = pa.Table.from_pylist([run.row() for run in runs], schema=RUNS)
        in_hand = pa.array([len(run.in_hand) for run in runs], pa.int64())
        rest = [name for name in table.column_names if name not in (*RUN_COLUMNS, "in_hand", "process")]
        table = table.set_column(table.column_names.index("in_hand"), "in_hand", in_hand)
        return Table(table.select([*RUN_COLUMNS, "in_hand", *rest]), title="runs")

    @property
    def heads(self) -> list[Head]:
        """Its heads, by name."""
        return [Head(self._tables, stored) for stored in self._tables.heads.summaries()]

    def head(self, name: str) -> Head:
        """A head by name.

        Raises:
            HeadNotFoundError: there is none of that name.
        """
        return Head(self._tables, self._tables.heads.get(name))

    @property
    def augmenters(self) -> list[Augmenter]:
        """Its latent augmenters, by name."""
        return [Augmenter(self._tables, stored) for stored in self._tables.augmenters.summaries()]

    def augmenter(self, name: str) -> Augmenter:
        """A latent augmenter by name.

        Raises:
            AugmenterNotFoundError: there is none of that name.
        """
        return Augmenter(self._tables, self._tables.augmenters.get(name))

    def tile(self, tile_id: int, *, collection: str | None = None) -> dict[str, Any]:
        """A tile's row, with its vector; 'collection' is the name of its collection.

        Raises:
            TileNotFoundError: no collection has it.
        """
        return self._tables.tile(tile_id, collection=collection).as_record()

    def tile_at(
        self, slide_id: str, xy_l0: tuple[int, int] | None = None, *, collection: str | None = None
    ) -> dict[str, Any]:
        """The row, as of `tile`, of the tile at a level-0 pixel of a slide; without a pixel, of the slide's first tile.

        Raises:
            TileNotFoundError: the slide has no tile there.
        """
        return self._tables.tile_at(slide_id, xy_l0, collection=collection).as_record()

    def tile_picture(self, row: dict[str, Any]) -> "Image.Image":
        """The picture of a tile as its extractor saw it, read again from its slide.

        Args:
            row: From `tile` or `tile_at`.
        Raises:
            SlideNotFoundError: the slide is no longer where it was ingested from.
            ConfigError: it is no such row.
        """
        check_tile_rows([row], ("collection", *PLACE))
        return self.collection(row["collection"]).pictures([row])[0]

    def slide(self, slide_id: str) -> dict[str, Any]:
        """A slide's row.

        Raises:
            SlideNotInStoreError: there is no such slide.
        """
        self._tables.ledger.resolve_slides(slides=[slide_id])  # its error suggests slides of similar names
        slide = self._tables.ledger.slide(slide_id)
        return {} if slide is None else slide.as_record()

    # -- ingest -----------------------------------------------------------------------------

    def ingest(
        self,
        slides: Slides,
        *,
        extractors: "str | ExtractorConfig | Sequence[str | ExtractorConfig]" = DEFAULT_EXTRACTOR,
        collections: Sequence[str] = (),
        mpp: float | None = None,
        views: int | ViewConfig | Mapping[str, Any] | None = None,
        tiling: Mapping[str, Any] | None = None,
        tissue: TissueConfig | Mapping[str, Any] | None = None,
        reading: ReadingConfig | Mapping[str, Any] | None = None,
        run: RunConfig | Mapping[str, Any] | None = None,
        execution: ExecutionConfig | Mapping[str, Any] | None = None,
        retry_failed: bool = False,
        force: Sequence[str] = (),
        limit: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> IngestResult:
        """Embed the tissue tiles of slides.

        Slides that are complete are skipped, so the same call finishes an interrupted run. A slide that fails is
        recorded with the reason, and the run goes on. The first Ctrl-C (in a notebook, interrupting the kernel) commits
        finished slides and drops those in flight; a second one ends the call at once.

        Args:
            slides: Files, folders (searched for slides), folders of ready-made tiles, or lists in CSV or Parquet with a
                column `path` and any others, such as patient and stain.
            extractors: Names of `list_extractors`, of timm models, of your own functions as module:function, or
                configurations. Several share one pass over the pixels.
            collections: Names of the extractors' collections; from extractor and tiling when empty.
            mpp: Resolution of slides that do not state theirs, µm per level-0 pixel.
            views: Augmented copies of each tile to embed beside it: their number, or their settings.
            tiling: Fields of `TilingConfig` that differ from the extractor's own.
            tissue, reading, run, execution: Settings, each an object or a dictionary of its fields;
                execution={"ray": True} starts Ray also where one process is the default, on a machine without a GPU.
            retry_failed: Also retry slides that failed or had no tiles.
            force: Ids of slides to embed again; their rows are replaced.
            limit: Largest number of slides.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Returns:
            The slides that have no embeddings, with the reason, and a summary.
        Raises:
            SlideNotFoundError: there is no slide.
            ConfigError: a setting that does not exist, or a value that it cannot have.
            CollectionMismatchError: a collection was made with another configuration or extractor.
            StoreBusyError: another run is writing to one of the collections.
        """
        request = ingest_request(
            slides, self.uri, extractors=extractors, collections=collections, mpp=mpp, views=views,
            tiling=tiling or {}, tissue=tissue, reading=reading, run=run, execution=execution,
            retry_failed=retry_failed, force=force, limit=limit,
        )  # fmt: skip
        return run_ingest(request, on_progress=on_progress)

    def estimate_ingest(self, slides: Slides, **options: Unpack[IngestOptions]) -> "IngestEstimate":
        """Plan every slide that `ingest` would embed and time the extractors; nothing is written.

        Args:
            slides: As in `ingest`.
            options: As in `ingest`.
        Returns:
            Slides, tiles, hours and bytes of each pass over the pixels, and the slides that would fail.
        """
        return estimate_ingest(ingest_request(slides, self.uri, **options))

    def import_features(
        self,
        folder: str | Path,
        *,
        layout: str | None = None,
        coordinates: str | Path | None = None,
        features: str | None = None,
        extractor: str | None = None,
        weights: "str | ExtractorConfig | None" = None,
        verify: int | None = None,
        collection: str | None = None,
        slides: Slides = (),
        tile_px: int | None = None,
        mpp: float | None = None,
        slide_mpp: float | None = None,
        edge_l0: int | None = None,
        run: RunConfig | Mapping[str, Any] | None = None,
        retry_failed: bool = False,
        force: Sequence[str] = (),
        limit: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> IngestResult:
        """Bring in vectors of tiles that another tool extracted; nothing is extracted again.

        Slides that are complete are skipped, so the same call finishes an interrupted run. A slide whose files are
        damaged is recorded with the reason, and the run goes on.

        Args:
            folder: The folder that the tool wrote.
            layout: The tool: `trident`, `clam`, `stamp`, `slideflow`, `tiatoolbox`, `lazyslide` or `plain`; recognised
                when None.
            coordinates: Folder of the files of tiles' places, where it is not beside the vectors.
            features: Which of several sets of vectors that the files of a slide hold.
            extractor: The extractor that made the vectors: a name of `list_extractors`, or any other; what the files
                say when None.
            weights: How that extractor is loaded here: a file of weights for `extractor`, 'published' for those of the
                hub, or a configuration. Its digest is recorded, so that images can be searched and slides ingested into
                the collection; otherwise it counts as unknown.
            verify: Embed so many tiles again before anything is written, with `weights`, and compare.
            collection: Name of the collection; from extractor and tiles when None.
            slides: The slides themselves, as for `ingest`, or a list of them: for pictures, for the resolution, and for
                patients. Slides without a file are imported as well.
            tile_px, mpp: Edge of a tile as the tool cut it, pixels, and its resolution, µm/px; where files do not say.
            slide_mpp: Resolution of slides that do not state theirs, µm per level-0 pixel.
            edge_l0: Edge of a tile, level-0 pixels; where neither files nor slides say it.
            run: Settings of the run, an object or a dictionary of its fields.
            retry_failed: Also retry slides that failed or had no tiles.
            force: Ids of slides to import again; their rows are replaced.
            limit: Largest number of slides.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Returns:
            The slides that have no embeddings, with the reason, and a summary.
        Raises:
            LayoutError: the folder has no layout that is known, or several, or its files do not say what they hold.
            CollectionMismatchError: the collection holds other vectors.
            WeightsError, UnknownExtractorError: the extractor cannot be loaded.
            VerificationError: tiles that were embedded again have other vectors; nothing was written.
        """
        request = import_request(
            folder, self.uri, layout=layout, coordinates=coordinates, features=features, extractor=extractor,
            weights=weights, collection=collection, slides=slides, tile_px=tile_px, mpp=mpp, slide_mpp=slide_mpp,
            edge_l0=edge_l0, run=run, retry_failed=retry_failed, force=force, limit=limit,
        )  # fmt: skip
        return run_import(request, verify=verify, on_progress=on_progress)

    # -- heads ------------------------------------------------------------------------------

    def fit_head(
        self,
        task: str,
        config: "FitConfig | None" = None,
        *,
        name: str | None = None,
        collection: str | None = None,
        where: str | None = None,
        replace: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> Head:
        """Fit a head for a task from stored vectors; no pixel is read.

        No patient is in two parts of a split. Metrics are measured on examples that the head has not seen.

        Args:
            task: A task that has labels in the store.
            config: How it is fitted; the defaults when None.
            name: Name of the head; TASK-MODEL when None.
            collection: Collection whose vectors are used; the only one when None.
            where: SQL over the slides' columns; only slides that it holds for.
            replace: Replace a head of the same name.
            on_progress: See `embedstore.progress`; a progress bar when None.
            settings: Fields of `FitConfig`, such as model="mlp", positive="tumour", split={"folds": 10} or "holdout",
                augment={"views": 0.5}, "search" or "none".
        Raises:
            TaskNotFoundError, LabelError: there are no labels of the task, or they cannot be used.
            SplitError: the patients cannot be split that way.
            HeadExistsError: the name is taken.
            ConfigError: a setting that does not exist, or a value that it cannot have.
        """
        names = None if name is None else [name]
        return self.fit_heads(
            [task], config, names=names, collection=collection, where=where, replace=replace,
            on_progress=on_progress, **settings,
        )[0]  # fmt: skip

    def fit_heads(
        self,
        tasks: Sequence[str],
        config: "FitConfig | None" = None,
        *,
        names: Sequence[str] | None = None,
        collection: str | None = None,
        where: str | None = None,
        replace: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> list[Head]:
        """Fit a head for each of several tasks in one pass over the vectors. Arguments as in `fit_head`."""
        self._tables.require_writable()
        from heads.devices import prepare_jax

        prepare_jax()
        from heads.fit import fit_heads

        with progress_bar(on_progress) as report:
            stored = fit_heads(
                self._tables, self._tables.collection(collection), tasks, fit_config(config, settings),
                names=names, where=where, replace_heads=replace, on_progress=report,
            )  # fmt: skip
        return [Head(self._tables, head) for head in stored]

    def zero_shot_head(
        self,
        task: str,
        classes: "Mapping[str, str | Sequence[str]] | str | Path",
        *,
        name: str | None = None,
        collection: str | None = None,
        replace: bool = False,
        trust_extractor: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> Head:
        """Make a head for tiles of words alone, where the collection's extractor has a text tower.

        A tile's probabilities are the softmax of its cosines to the classes, by the scale that the text tower was
        trained with. The head predicts, is exported and looked at like any other. Where the task has labels of these
        classes, its metrics are those on them.

        Args:
            task: The question that it answers.
            classes: The prompts of each class, such as {"tumour": ["tumor tissue", "carcinoma"], "normal": "normal
                tissue"}; or a file of them, .toml, .json or .csv.
            name: Name of the head; TASK-zero-shot when None.
            collection: Collection whose extractor embeds the words; the only one when None.
            replace: Replace a head of the same name.
            trust_extractor: Run a user's own function where the collection was made with one.
            on_progress: See `embedstore.progress`; a progress bar when None.
            settings: Other fields of `ZeroShotConfig`, such as templates=["an H&E image of {}."] or positive="tumour".
        Raises:
            ExtractorError: the extractor has no text tower.
            ConfigError: fewer than two classes, a class without a prompt, or a setting that does not exist.
            QueryError: a text is longer than the text tower takes.
            HeadExistsError: the name is taken.
        """
        self._tables.require_writable()
        from heads.prompts import ZeroShotConfig, read_prompts

        given = read_prompts(classes) if isinstance(classes, str | Path) else {"classes": classes}
        config = build_config(ZeroShotConfig, None, **{**given, **settings})
        from heads.zero_shot import zero_shot

        with progress_bar(on_progress) as report:
            stored = zero_shot(
                self._tables, self._tables.collection(collection), task, config,
                name=name, replace=replace, trust_extractor=trust_extractor, on_progress=report,
            )  # fmt: skip
        return Head(self._tables, stored)

    def fit_augmenter(
        self,
        config: "AugmenterConfig | None" = None,
        *,
        collection: str | None = None,
        name: str | None = None,
        where: str | None = None,
        force: bool = False,
        replace: bool = False,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> Augmenter:
        """Train a small network that predicts the vector of an augmented tile from the vector of the tile.

        It learns from views that `ingest(views=…)` stored, and is tested on patients that it has not seen.

        Args:
            config: How it is trained; the defaults when None.
            collection: Collection whose views are used; the only one when None.
            name: Name of the augmenter; COLLECTION-augmenter when None.
            where: SQL over the slides' columns; only slides that it holds for.
            force: Save it even if it predicts no better than the tile's own vector.
            replace: Replace one of the same name.
            on_progress: See `embedstore.progress`; a progress bar when None.
            settings: Fields of `AugmenterConfig`, such as steps=5000.
        Raises:
            ViewsNotFoundError: the collection has no stored views.
            SplitError: fewer than four patients.
            AugmenterRefusedError: it predicts no better than the tile's own vector.
        """
        self._tables.require_writable()
        from heads.devices import prepare_jax

        prepare_jax()
        from heads.augmentation.augmenter_fit import fit_augmenter
        from heads.config import AugmenterConfig

        with progress_bar(on_progress) as report:
            stored = fit_augmenter(
                self._tables, self._tables.collection(collection), build_config(AugmenterConfig, config, **settings),
                name=name, force=force, replace=replace, where=where, on_progress=report,
            )  # fmt: skip
        return Augmenter(self._tables, stored)

    def select_extractor(
        self,
        task: str,
        candidates: "Sequence[str | ExtractorConfig]",
        config: "SelectConfig | None" = None,
        *,
        collection: str | None = None,
        rank_check: Sequence[str] = (),
        where: str | None = None,
        tile_px: int | None = None,
        mpp: float | None = None,
        device: str = "auto",
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> ExtractorSelection:
        """Compare candidates for an extractor on a sample of a task's labelled tiles.

        Args:
            task: A labelled task of the target domain.
            candidates: Names as in `ingest`, or configurations; one that cannot be loaded gets a row with its error.
            config: How they are compared; the defaults when None.
            collection: Collection whose tiles are sampled; the only one when None.
            rank_check: Further tasks, on which the ranking is checked.
            where: SQL over the slides' columns; only slides that it holds for.
            tile_px, mpp: Tiles for every candidate; each candidate's own when None.
            device: auto, cpu, cuda or cuda:N.
            on_progress: See `embedstore.progress`; a progress bar when None.
            settings: Fields of `SelectConfig`, such as tiles=500 or site="scanner".
        Raises:
            TaskNotFoundError, LabelError, SplitError: the labels cannot be used, or there are too few patients.
            CandidatesError: no candidate could be tried.
        """
        from heads.devices import prepare_jax

        prepare_jax()
        from heads.select import SelectConfig, select_extractor

        with progress_bar(on_progress) as report:
            selection = select_extractor(
                self._tables, self._tables.collection(collection), task, as_extractors(candidates),
                build_config(SelectConfig, config, **settings), rank_check=rank_check, where=where, tile_px=tile_px,
                mpp=mpp, device=device, on_progress=report,
            )  # fmt: skip
        return ExtractorSelection(selection)

    def evaluate(
        self,
        heads: Sequence[str],
        config: "EvaluateConfig | None" = None,
        *,
        collection: Collection | str | None = None,
        where: str | None = None,
        predictions: str | Path | None = None,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> Evaluations:
        """Evaluate heads on labelled slides that they were not fitted on: another cohort, site, collection or store.

        Metrics are at each head's stored threshold and temperature, with intervals by patient, beside those of its own
        test parts. Patients and slides that a head was fitted on are left out. The vectors of a collection are read
        once for all heads.

        Args:
            heads: Their names.
            config: Which cohorts and labels; the defaults when None.
            collection: A collection of the same extractor: of this store by its name, or of another store. The one that
                each head was fitted on when None.
            where: SQL over the slides' columns; only slides that it holds for.
            predictions: A .csv, .parquet or .json that gets a row for each head and example, with its label and its
                probabilities.
            on_progress: See `embedstore.progress`; a progress bar when None.
            settings: Fields of `EvaluateConfig`, such as by="site", task="tumour-2", class_map={"tumor": "tumour"} or
                keep_seen=True.
        Returns:
            A row for each head and cohort.
        Raises:
            HeadNotFoundError: there is no such head.
            HeadMismatchError: the collection's vectors are of another extractor.
            TaskNotFoundError, LabelError: labels that heads cannot be compared with, or none at all.
            ConfigError, SlideNotInStoreError: a setting or column that does not exist, or a condition on slides that
                is not valid or true for none.
            ExportError: predictions cannot be written there.
        """
        return evaluate_on(
            self._tables, as_names(heads), config, collection=collection, where=where, predictions=predictions,
            on_progress=on_progress, **settings,
        )  # fmt: skip

    # -- export -----------------------------------------------------------------------------

    def export(
        self,
        path: str | Path,
        *,
        format: "ExportFormat | None" = None,
        head: str | None = None,
        collection: str | None = None,
        slides: Sequence[str] = (),
        where: str | None = None,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> "ExportResult":
        """Write the predictions of a head, or the embeddings of a collection; see `Head.export`, `Collection.export`.

        Raises:
            PredictionsNotFoundError: the head has predicted nothing yet.
            ExportError: there is nothing to export in this format, or the path cannot be written to.
        """
        return write_export(
            self._tables, path, format=format, head=head, collection=collection, slides=as_names(slides), where=where,
            on_progress=on_progress, **settings,
        )  # fmt: skip

    def export_layout(
        self,
        folder: str | Path,
        layout: "LayoutName",
        *,
        head: str | None = None,
        collection: str | None = None,
        slides: Sequence[str] = (),
        where: str | None = None,
        columns: Sequence[str] = (),
        on_progress: OnProgress | None = None,
    ) -> "LayoutExportResult":
        """Write a collection, or some of its slides, in files that another tool opens.

        A slide is written whole or not at all. One that stands in the folder already is left, so a call that was
        interrupted goes on; files that embedstore did not write, or wrote from another collection, are never replaced.

        Args:
            folder: The folder to write to.
            layout: trident, clam, stamp, anndata, spatialdata or parquet.
            head: anndata, spatialdata, parquet: add the predictions of this head, and take its collection.
            collection: By name; the only one when None.
            slides: Only these slides.
            where: Only slides whose row fulfils this SQL, such as "cohort = 'A'".
            columns: anndata, spatialdata, parquet: add these columns of slides, such as patient.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Returns:
            The slides with their files, and why some could not be written.
        Raises:
            SlideNotInStoreError: a slide is not in the store.
            ExportError: there is nothing to write, or the folder cannot be written to.
            ConfigError: there is no such layout or column, or the layout has no room for what was asked for.
        """
        return write_layout(
            self._tables, folder, layout=layout, head=head, collection=collection, slides=as_names(slides),
            where=where, columns=as_names(columns), on_progress=on_progress,
        )  # fmt: skip

    # -- upkeep -----------------------------------------------------------------------------

    def find_slides(self, *, slides: Sequence[str] = (), patients: Sequence[str] = ()) -> list[str]:
        """Ids of the given slides and of all slides of the given patients.

        Raises:
            SlideNotInStoreError: one of them is not in the store.
        """
        return self._tables.ledger.resolve_slides(slides=as_names(slides), patients=as_names(patients))

    def count_views(self, collection: str) -> int:
        """Number of stored views of a collection.

        Raises:
            CollectionNotFoundError, ViewsNotFoundError: there is no such collection, or it has no views.
        """
        return len(self._tables.views(self._tables.collection(collection).name))

    def remove(self, *, slides: Sequence[str] = (), patients: Sequence[str] = ()) -> dict[str, int]:
        """Remove slides, or all slides of patients, from every table of the store.

        They are gone from reads and searches at once, and from the files after `compact(keep_hours=0)`.

        Returns:
            {collection: tiles removed}.
        Raises:
            SlideNotInStoreError: one of them is not in the store; nothing is removed.
        """
        return remove_slides(
            self._tables, self._tables.ledger.resolve_slides(slides=as_names(slides), patients=as_names(patients))
        )

    def remove_views(self, collection: str) -> int:
        """Remove the stored views of a collection; returns their number.

        Raises:
            ViewsNotFoundError: there are none.
        """
        return remove_views(self._tables, collection)

    def remove_collection(self, collection: str) -> int:
        """Remove a collection, with its views, map and slide vectors; slides and labels stay.

        Returns:
            Number of tiles removed.
        Raises:
            CollectionNotFoundError: there is none of that name.
            StoreError: heads or augmenters were fitted on it; remove these first.
            StoreBusyError: another process is writing to it.
        """
        return remove_collection(self._tables, collection)

    def remove_columns(self, columns: Sequence[str]) -> None:
        """Take columns that came with lists of slides out of the store; a column that keeps it from being read as well.

        Raises:
            StoreError: a column is one of the store's own, or there is none of that name.
        """
        self._tables.ledger.drop_columns(as_names(columns))

    def compact(self, *, keep_hours: float = 1.0, on_progress: OnProgress | None = None) -> dict[str, dict[str, int]]:
        """Merge small files, purge removed rows and forget old versions.

        Args:
            keep_hours: Keep versions that are younger than this; 0 purges removed rows from the disk now, and readers
                of old versions fail.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Returns:
            Rows, fragments, versions and bytes of each collection, before and after.
        Raises:
            ConfigError: keep_hours is less than 0.
        """
        if keep_hours < 0:
            raise ConfigError(f"keep_hours is {keep_hours}; expected 0 or more")
        with progress_bar(on_progress) as report:
            sizes = compact(self._tables, keep_s=3600 * keep_hours, on_progress=report)
        return {name: before_and_after.as_record() for name, before_and_after in sizes.items()}

    def __repr__(self) -> str:
        return f"<Store {self.uri!r}: {', '.join(self._tables.collection_names()) or 'no collection yet'}>"

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {"slides": f"{len(self.slides):,}"}
        facts |= {c.name: f"{len(c):,} tiles of {len(c.slides):,} slides" for c in self.collections}
        facts["tasks with labels"] = ", ".join(self.labels.tasks) or "none"
        facts["heads"] = ", ".join(self._tables.heads.names()) or "none"
        return card(f"Store {self.uri}", facts)


@tells_access_errors
@checks_arguments
def open(uri: str | Path) -> Store:
    """Open a store: a directory, or the URI of an object store.

    Raises:
        StoreNotFoundError: nothing there was written by embedstore.
        ConfigError: it is the URL of a service.
    """
    return Store(StoreTables.open(_not_of_a_service(uri)))


@tells_access_errors
@checks_arguments
def create(uri: str | Path) -> Store:
    """Open a store, or make it where there is none.

    Raises:
        StoreError: a file is in the way, or the object store loses commits.
        ConfigError: it is the URL of a service.
    """
    return Store(StoreTables.create(_not_of_a_service(uri)))


def _not_of_a_service(uri: str | Path) -> str | Path:
    if str(uri).lower().startswith(("http://", "https://")):
        raise ConfigError(
            f"{uri} is the URL of a service, not of a store; in Python, embedstore.connect({str(uri)!r}) asks it; "
            "commands want the store's folder, where it is"
        )
    return uri
