"""Import: from a folder of another tool to a request, and from a request to vectors in a store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from embedstore.api.ingest import IngestResult, Slides
from embedstore.config import RunConfig
from embedstore.errors import ConfigError, LayoutError
from embedstore.progress import OnProgress, Progress
from embedstore.progress_bar import progress_bar
from embedstore.settings import as_names, build_config
from embedstore.uris import is_uri

if TYPE_CHECKING:
    from actors.importing import ImportRequest
    from actors.verifying import Verification
    from embedstore.extractors import ExtractorConfig

#: What `weights` says of an extractor whose published weights made the vectors.
PUBLISHED = "published"


class ImportOptions(TypedDict, total=False):
    """Arguments of `Store.import_features` except the folder; see there."""

    layout: str | None
    coordinates: str | Path | None
    features: str | None
    extractor: str | None
    weights: "str | ExtractorConfig | None"
    collection: str | None
    slides: Slides
    tile_px: int | None
    mpp: float | None
    slide_mpp: float | None
    edge_l0: int | None
    run: RunConfig | Mapping[str, Any] | None
    retry_failed: bool
    force: Sequence[str]
    limit: int | None


class ImportResult(IngestResult):
    """Slides of an import that have no vectors, a row each with the reason.

    Attributes:
        verification: What embedding tiles again has shown, where it was asked for.
    """

    verification: "Verification | None" = None


def import_request(folder: str | Path, store_uri: str, **options: Unpack[ImportOptions]) -> "ImportRequest":
    """Recognise a folder and check all settings of an import, before any work; arguments as in `import_features`."""
    from actors.importing import import_request as make_request
    from embedstore.layouts import FeatureConfig
    from embedstore.slides import find_slides

    named = ("layout", "coordinates", "features", "extractor", "tile_px", "mpp", "slide_mpp", "edge_l0")
    if is_uri(str(folder)):
        raise LayoutError(
            f"{folder} is an address; features are read from folders of this machine: copy or mount it, and give that"
        )
    given = {name: options.get(name) for name in named}
    if isinstance(given["coordinates"], Path):
        given["coordinates"] = str(given["coordinates"])
    config = build_config(FeatureConfig, given)
    slides = options.get("slides", ())
    paths = [slides] if isinstance(slides, str | Path) else list(slides)
    return make_request(
        Path(folder),
        store_uri,
        config,
        slides=find_slides([str(path) for path in paths]) if paths else None,
        collection=options.get("collection"),
        weights=_loadable(options.get("extractor"), options.get("weights")),
        run=build_config(RunConfig, options.get("run")),
        retry_failed=options.get("retry_failed", False),
        force=frozenset(as_names(options.get("force", ()))),
        limit=options.get("limit"),
    )


def verify_import(request: "ImportRequest", tiles: int, *, on_progress: OnProgress | None = None) -> "Verification":
    """Embed tiles of a request again, and compare; each tile is told.

    Raises:
        VerificationError: the vectors are not the extractor's, or no slide can be used.
        ConfigError: the extractor's weights are not given, or there are too few tiles.
    """
    from actors.verifying import verify

    with progress_bar(on_progress) as report:
        verification = verify(request, tiles, on_progress=report)
        for line in verification.lines():
            report(Progress(stage="verify", message=line))
    verification.check()
    return verification


def run_import(
    request: "ImportRequest", *, verify: int | None = None, on_progress: OnProgress | None = None
) -> ImportResult:
    """Bring in the vectors of a request; Ctrl-C stops after the slides that are finished.

    Args:
        verify: Embed so many tiles again before, as `verify_import`.
    """
    from actors.importing import import_features
    from actors.interruption import stop_on_interrupt

    verification = None if verify is None else verify_import(request, verify, on_progress=on_progress)
    if verification is not None:
        request = request.verified(verification.as_record())

    with progress_bar(on_progress) as report, stop_on_interrupt(report) as interruption:
        for line in request.understood.lines():
            report(Progress(stage="import", message=line))
        summary = import_features(request, on_progress=report, should_stop=interruption)
        result = ImportResult(summary, signal=interruption.signal)
        result.verification = verification
        return result


def _loadable(extractor: str | None, weights: "str | ExtractorConfig | None") -> "ExtractorConfig | None":
    """The configuration of an extractor whose weights are at hand."""
    from embedstore.extractors import ExtractorConfig

    if weights is None or isinstance(weights, ExtractorConfig):
        return weights
    if extractor is None:
        raise ConfigError(
            f"--weights {weights} was given without --extractor; say which extractor they are of, by its name in "
            "`embedstore extractors`"
        )
    return ExtractorConfig(ref=extractor, weights=None if weights == PUBLISHED else weights)
