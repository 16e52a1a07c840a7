"""A head of a store that a service serves; as `embedstore.Head`."""

import datetime as dt
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from embedstore.arguments import checks_arguments
from embedstore.client.collection import RemoteCollection
from embedstore.client.connection import Connection, noted_table, path
from embedstore.client.evaluating import evaluate_over
from embedstore.client.exports import export_over
from embedstore.client.jobs import run_job
from embedstore.errors import HeadNotFoundError, TooLargeError
from embedstore.progress import OnProgress, no_progress
from embedstore.result_table import NotedTable, Table
from embedstore.settings import as_names, build_config
from embedstore.shown_models import ShownHead
from embedstore.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from PIL import Image

    from embedstore.api import Evaluations
    from embedstore.api.head import FitAgain
    from embedstore.export import ExportResult, PredictionRaster
    from embedstore.export_format import ExportFormat
    from heads.config import EvaluateConfig, MistakesConfig, SuggestConfig
    from heads.evaluation.report import Metric, Report
    from heads.predicted import Predicted
    from heads.record import HeadRecord


@checks_arguments
class RemoteHead(ShownHead):
    """A classifier for one task on the embeddings of one extractor, over HTTP.

    Methods, arguments and errors are those of `embedstore.Head`.

    Attributes:
        name: Its name in the store.
        task: The question that it answers.
        model: linear, mlp, mean, max or abmil.
        level: What it classifies: a tile, a slide or a patient.
        digest: Of its parameters; heads of the same digest are the same.
        created_at: When it was fitted, UTC.
    """

    def __init__(self, connection: Connection, facts: Mapping[str, Any]):
        self._connection, self._collection = connection, facts["collection"]
        self.name, self.task = facts["name"], facts["task"]
        self.model, self.level, self.digest = facts["model"], facts["level"], facts["digest"]
        self.created_at = None if facts["created_at"] is None else dt.datetime.fromisoformat(facts["created_at"])

    # -- how good it is ---------------------------------------------------------------------

    @property
    def collection(self) -> str:
        """Name of the collection that it was fitted on."""
        return self._collection

    @cached_property
    def _card(self) -> dict[str, Any]:
        return self._get()

    @cached_property
    def record(self) -> "HeadRecord":
        """Everything about how it was fitted."""
        from heads.record import HeadRecord

        return HeadRecord.from_record(self._card)

    def as_record(self) -> dict[str, Any]:
        """Its name, task, digest and record as JSON values."""
        return dict(self._card)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it tells apart."""
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
        return _image(self._connection.get_bytes(self._path("curves.png"), accept="image/png"))

    def write_curves(self, folder: str | Path) -> list[Path]:
        """Write the curves as PNG into FOLDER/NAME on this machine, each alone and all on a sheet."""
        from embedstore.output_files import require_folder
        from heads.evaluation.plots import write_curves

        require_folder(folder)
        return write_curves(self.report, Path(folder) / self.name, name=self.name)

    def write_split(self, file: TextIO) -> None:
        """Write the part (train, valid, test) of every example in each fold, as CSV with slide, patient and place."""
        file.write(self._connection.get_bytes(self._path("split.csv"), accept="text/csv").decode())

    def evaluate(
        self,
        config: "EvaluateConfig | None" = None,
        *,
        collection: RemoteCollection | str | None = None,
        where: str | None = None,
        predictions: str | Path | None = None,
        on_progress: OnProgress | None = None,
        **settings: Any,
    ) -> "Evaluations":
        """Evaluate it on labelled slides that it was not fitted on; arguments and errors as of `RemoteStore.evaluate`.

        The service does it as a job; Ctrl-C cancels that.
        """
        return evaluate_over(
            self._connection, (self.name,), config, collection=collection, where=where, predictions=predictions,
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

        Arguments and errors as of `embedstore.Head.predict`. The service does it as a job; Ctrl-C cancels that.
        """
        from heads.predicted import Predicted

        body: dict[str, Any] = {
            "slides": list(as_names(slides)), "where": where, "collection": collection, "replace": replace
        }  # fmt: skip
        job = self._connection.post(self._path("predict"), {name: value for name, value in body.items() if value})
        return Predicted(**run_job(self._connection, job, on_progress))

    @property
    def has_predicted(self) -> bool:
        """Whether the store has predictions of it."""
        return bool(head_facts(self._connection, self.name)["has_predicted"])

    @property
    def predictions(self) -> Table:
        """A row for each tile, or slide, that it has predicted.

        Raises:
            PredictionsNotFoundError: it has predicted nothing yet.
        """
        return Table(self._connection.table(self._path("predictions")), title=f"predictions of {self.name}")

    def raster(self, slide_id: str) -> "PredictionRaster":
        """Its predictions on the tiles of a slide as arrays, to float16; as `embedstore.Head.raster`."""
        from embedstore.export import PredictionRaster

        return PredictionRaster.from_bytes(
            self._connection.get_bytes(
                self._path("predictions", slide_id, "raster"), accept="application/vnd.safetensors", type="float16"
            )
        )

    # -- what to label ----------------------------------------------------------------------

    def suggest(self, config: "SuggestConfig | None" = None, **settings: Any) -> NotedTable:
        """Propose tiles that would teach it most, to be labelled next; as `embedstore.Head.suggest`.

        A pool is 1 to 50,000 tiles.
        """
        from heads.config import SuggestConfig

        config = build_config(SuggestConfig, config, **settings)
        return noted_table(self._connection, self._path("suggest"), vars(config))

    def mistakes(self, config: "MistakesConfig | None" = None, **settings: Any) -> NotedTable:
        """Labelled tiles that it takes for another class, the most certain first; as `embedstore.Head.mistakes`."""
        from heads.config import MistakesConfig

        config = build_config(MistakesConfig, config, **settings)
        return noted_table(self._connection, self._path("mistakes"), vars(config))

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
        """Write its predictions for QuPath, pandas, AnnData and people, on this machine.

        Arguments and errors as of `embedstore.Head.export`.
        """
        return export_over(
            self._connection, path, format=format, head=self.name, slides=slides, where=where,
            on_progress=on_progress, **settings,
        )  # fmt: skip

    def heat_map(self, slide_id: str, *, of_class: str | None = None, picture_px: int = 1600) -> "Image.Image":
        """Its predictions over a picture of a slide; arguments and errors as of `embedstore.Head.heat_map`."""
        try:
            made = self._connection.get_bytes(
                self._path("predictions", slide_id, "export"), accept="image/png", format="png", of_class=of_class,
                picture_px=picture_px,
            )  # fmt: skip
            return _image(made)
        except TooLargeError:  # too much to wait for an answer: a job draws it
            with temporary_folder("picture") as folder:
                file = Path(folder, "map.png")
                self.export(file, slides=[slide_id], of_class=of_class, picture_px=picture_px, on_progress=no_progress)
                return _image(file.read_bytes())

    # -- upkeep -----------------------------------------------------------------------------

    def fit_again(self, *, on_progress: OnProgress | None = None) -> "FitAgain":
        """Fit the head again from its record, and compare; nothing is saved.

        Arguments and errors as of `embedstore.Head.fit_again`. The service does it as a job; Ctrl-C cancels that.
        """
        from embedstore.api.head import FitAgain

        job = self._connection.post(self._path("fit-again"), {})
        return FitAgain(**run_job(self._connection, job, on_progress))

    def remove(self) -> None:
        """Remove the head and its predictions from the store."""
        self._connection.delete(self._path())

    def _path(self, *parts: str) -> str:
        return path("heads", self.name, *parts)

    def _get(self, *parts: str) -> Any:
        return self._connection.get(self._path(*parts))


def head_facts(connection: Connection, name: str) -> dict[str, Any]:
    """A head in short.

    Raises:
        HeadNotFoundError: there is none of that name.
    """
    for facts in connection.get("/api/heads"):
        if facts["name"] == name:
            return facts
    connection.get(path("heads", name))  # its error suggests similar names
    raise HeadNotFoundError(f"the store has no head {name!r} any more")


def _image(data: bytes) -> "Image.Image":
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture
