"""A fitted head: its metrics and curves, its predictions, and what they are exported to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from embedstore.access_errors import tells_access_errors
from embedstore.api.evaluating import evaluate_on
from embedstore.api.evaluations import Evaluations
from embedstore.api.exporting import write_export
from embedstore.arguments import checks_arguments
from embedstore.progress import OnProgress, no_progress
from embedstore.progress_bar import progress_bar
from embedstore.result_table import NotedTable, Table
from embedstore.settings import as_names, build_config
from embedstore.shown_models import ShownHead
from embedstore.store import Store as StoreTables
from embedstore.store import StoredHead
from embedstore.store.removal import remove_head

if TYPE_CHECKING:
    from PIL import Image

    from embedstore.api.collection import Collection
    from embedstore.export import ExportFormat, ExportResult, PredictionRaster
    from heads.config import EvaluateConfig, MistakesConfig, SuggestConfig
    from heads.evaluation.report import Metric, Report
    from heads.predict import Predicted
    from heads.record import HeadRecord


@dataclass(frozen=True, kw_only=True)
class FitAgain:
    """Whether a second fit of a head gave the same parameters.

    Attributes:
        stored: Digest of the stored parameters.
        again: Digest of the parameters of the second fit.
    """

    stored: str
    again: str

    @property
    def same(self) -> bool:
        """Whether the parameters are equal; on the same kind of device they should be."""
        return self.stored == self.again


@tells_access_errors
@checks_arguments
class Head(ShownHead):
    """A classifier for one task on the embeddings of one extractor.

    Attributes:
        name: Its name in the store.
        task: The question that it answers.
        model: linear, mlp, mean, max or abmil.
        level: What it classifies: a tile, a slide or a patient.
        digest: Of its parameters; heads of the same digest are the same.
        created_at: When it was fitted, UTC.
    """

    def __init__(self, tables: StoreTables, stored: StoredHead):
        self._tables, self._stored = tables, stored
        self.name, self.task = stored.name, stored.task
        self.model, self.level, self.digest = stored.model, stored.level, stored.digest
        self.created_at = stored.created_at

    # -- how good it is ---------------------------------------------------------------------

    @property
    def collection(self) -> str:
        """Name of the collection that it was fitted on."""
        return self._stored.collection

    @cached_property
    def record(self) -> "HeadRecord":
        """Everything about how it was fitted."""
        from heads.record import HeadRecord

        return HeadRecord.from_record(self._stored.record)

    def as_record(self) -> dict[str, Any]:
        """Its name, task, digest and record as JSON values."""
        return {"name": self.name, "task": self.task, "digest": self.digest, **self._stored.record}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.report.classes

    @property
    def report(self) -> "Report":
        """Its quality on the test parts: metrics, confusion, curves."""
        return self.record.report

    @property
    def metrics(self) -> "Mapping[str, Metric]":
        """Metrics on examples that it was not fitted on, with 95 % intervals by patient."""
        return self.report.metrics

    def plot(self) -> "Image.Image":
        """ROC, precision-recall, reliability and confusion on one picture."""
        import io

        from PIL import Image

        from heads.evaluation.plots import curves_png

        return Image.open(io.BytesIO(curves_png(self.report, name=self.name)))

    def write_curves(self, folder: str | Path) -> list[Path]:
        """Write the curves as PNG into FOLDER/NAME, each alone and all on a sheet."""
        from embedstore.output_files import require_folder
        from heads.evaluation.plots import write_curves

        require_folder(folder)
        return write_curves(self.report, Path(folder) / self.name, name=self.name)

    def write_split(self, file: TextIO) -> None:
        """Write the part (train, valid, test) of every example in each fold, as CSV with slide, patient and place."""
        from heads.head_split import write_split

        write_split(self._tables, self._stored, file)

    def evaluate(
        self,
        config: "EvaluateConfig | None" = None,
        *,
        collection: "Collection | str | None" = None,
        where: str | None = None,
        predictions: str | Path | None = None,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> Evaluations:
        """Evaluate it on labelled slides that it was not fitted on; arguments and errors as of `Store.evaluate`."""
        return evaluate_on(
            self._tables, (self.name,), config, collection=collection, where=where, predictions=predictions,
            on_progress=on_progress, **settings,
        )  # fmt: skip

    # -- predictions ------------------------------------------------------------------------

    def predict(
        self,
        *,
        slides: Sequence[str] = (),
        where: str | None = None,
        collection: str | None = None,
        replace: bool = False,
        on_progress: OnProgress | None = None,
    ) -> "Predicted":
        """Predict the tiles (or slides, patients) of a collection and store the predictions; no pixel is read.

        Predictions of the same slides are replaced; other slides keep theirs. A head has predictions of one collection
        at a time.

        Args:
            slides: Only these; all of the collection when empty.
            where: SQL over the slides' columns; only slides that it holds for.
            collection: Another collection of the same extractor.
            replace: Replace all earlier predictions, of whatever collection and slides.
            on_progress: See `embedstore.progress`; a progress bar when None.
        Raises:
            HeadMismatchError: the collection's vectors are of another extractor.
            PredictionsExistError: it has predictions of other slides from another collection.
            SlideNotInStoreError: a slide is not in the collection.
        """
        self._tables.require_writable()
        from heads.predict import predict

        with progress_bar(on_progress) as report:
            return predict(
                self._tables, self.name, slides=as_names(slides), where=where, collection=collection, replace=replace,
                on_progress=report,
            )  # fmt: skip

    @property
    def has_predicted(self) -> bool:
        """Whether the store has predictions of it."""
        return self._tables.predictions(self.name).is_there()

    @property
    def predictions(self) -> Table:
        """A row for each tile, or slide, that it has predicted.

        Raises:
            PredictionsNotFoundError: it has predicted nothing yet.
        """
        predictions = self._tables.predictions(self.name)
        return Table(predictions.table(), title=f"predictions of {self.name}")

    def raster(self, slide_id: str) -> "PredictionRaster":
        """Its predictions on the tiles of a slide as arrays, a value a tile, with the place of the grid.

        Of a head for slides or patients, the attention to each tile, as ranks within the slide.

        Raises:
            PredictionsNotFoundError: it has predicted nothing yet.
            ExportError: it has no values for tiles of the slide, or they lie on no grid, as ready-made tiles.
        """
        from embedstore.export import export_scope, prediction_raster

        return prediction_raster(export_scope(self._tables, head=self.name, slides=[slide_id]), slide_id)

    # -- what to label ----------------------------------------------------------------------

    def suggest(self, config: "SuggestConfig | None" = None, **settings: Any) -> NotedTable:
        """Propose tiles of its collection that would teach it most, to be labelled next.

        Tiles that labels of its task are about already are left out, and no slide or patient has many. It predicts a
        sample of the tiles itself, so that stored predictions need not be there.

        Args:
            config: How they are chosen; the defaults when None.
            settings: Fields of `SuggestConfig`, such as n=20, strategy="uncertain-diverse", where="cohort = 'A'",
                per_slide=2 or pool=50_000.
        Returns:
            A row a tile, in the order in which to label them: the tile and its place, the class that the head takes it
            for (`predicted`), its `probability`, the `uncertainty` (0 to 1), and the `reason` for people.
        Raises:
            HeadMismatchError: it classifies slides or patients, or the collection's vectors are of another extractor.
            ConfigError: `where` is not a valid condition, or a setting that does not exist.
            LabelError: tiles near to labelled ones are asked for, and there are none.
        """
        from heads.config import SuggestConfig

        config = build_config(SuggestConfig, config, **settings)
        from heads.active import suggest_tiles
        from heads.head import Head as FittedHead

        head = FittedHead.from_stored(self._stored)
        found = suggest_tiles(self._tables, self._tables.collection(head.collection), config, head=head)
        return NotedTable(found.table, title=found.title, notes=found.notes)

    def mistakes(self, config: "MistakesConfig | None" = None, **settings: Any) -> NotedTable:
        """Labelled tiles that it takes for another class, the most certain first.

        A tile that the head was tested on in one of its folds is predicted by the networks of that fold alone, which
        have not seen its label. Labels of whole slides and patients do not count.

        Args:
            config: Which tiles are listed; the defaults when None.
            settings: Fields of `MistakesConfig`, such as n=50, label="tumour", predicted="normal" or part="test".
        Returns:
            A row a tile: the tile and its place, the `label` and the probability that the head gives to it
            (`label_probability`), the class that it takes the tile for (`predicted`) and its `probability`, the `part`
            of its split (train, valid, test, or new to it), and the `authors` of the labels.
        Raises:
            HeadMismatchError: it classifies slides or patients.
            TaskNotFoundError, LabelError: its task has no labels of tiles any more, or it knows no such class.
            ConfigError: `where` is not a valid condition, or a setting that does not exist.
        """
        from heads.config import MistakesConfig

        config = build_config(MistakesConfig, config, **settings)
        from heads.active import find_mistakes

        found = find_mistakes(self._tables, self._stored, config)
        return NotedTable(found.table, title=found.title, notes=found.notes)

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
        """Write its predictions for QuPath, pandas, AnnData and people.

        Args:
            path: A file; of geojson and png also a folder, which gets a file for each slide; of dicom a folder.
            format: geojson, png (heat maps), csv, parquet, slides (a row for each slide), anndata or dicom; from the
                file's ending when None.
            slides: Only these.
            where: SQL over the slides' columns; only slides that it holds for.
            on_progress: See `embedstore.progress`; a progress bar when None.
            settings: Other fields of `ExportRequest`, such as merge=True, min_probability=0.5 or of_class="tumour".
        Raises:
            PredictionsNotFoundError: it has predicted nothing yet.
            ExportError: there is nothing to export in this format, or the path cannot be written to.
        """
        return write_export(
            self._tables, path, format=format, head=self.name, slides=as_names(slides), where=where,
            on_progress=on_progress, **settings,
        )  # fmt: skip

    def heat_map(self, slide_id: str, *, of_class: str | None = None, picture_px: int = 1600) -> "Image.Image":
        """Its predictions over a picture of a slide.

        Args:
            slide_id: The slide.
            of_class: Whose probability to show; the positive class, or each tile's class, when None.
            picture_px: Longer side of the slide's picture, pixels.
        Raises:
            PredictionsNotFoundError: it has predicted nothing yet.
            ExportError: it has no predictions of the slide, or none of tiles.
        """
        from PIL import Image

        from embedstore.temporary_folder import temporary_folder

        with temporary_folder("picture") as folder:
            file = Path(folder, "map.png")
            self.export(file, slides=[slide_id], of_class=of_class, picture_px=picture_px, on_progress=no_progress)
            with Image.open(file) as picture:
                return picture.copy()

    # -- upkeep -----------------------------------------------------------------------------

    def fit_again(self, *, on_progress: OnProgress | None = None) -> "FitAgain":
        """Fit the head again from its record, and compare; nothing is saved.

        Args:
            on_progress: See `embedstore.progress`; a progress bar when None.
        Raises:
            HeadMismatchError: the store holds other tiles, views or another augmenter than it was fitted with.
        """
        from heads.devices import prepare_jax

        prepare_jax()
        from heads.fit import fit_again

        with progress_bar(on_progress) as report:
            stored, head = fit_again(self._tables, self.name, on_progress=report)
        return FitAgain(stored=stored.digest, again=head.digest)

    def remove(self) -> None:
        """Remove the head and its predictions from the store."""
        remove_head(self._tables, self.name)
