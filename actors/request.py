"""The request for an ingest: slides, a store, extractors grouped by the tiles that they see, and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from embedstore.config import ExecutionConfig, IngestConfig, RunConfig, TilingConfig
from embedstore.errors import ConfigError
from embedstore.extractors import ExtractorConfig, describe_extractor
from embedstore.slides import SlideSource, SourceSummary, check_reader

#: Resolution of the tiles of an extractor that states none, µm/px.
DEFAULT_MPP = 0.5


@dataclass(frozen=True, kw_only=True)
class Target:
    """An extractor and the collection that its embeddings go to.

    Attributes:
        imported: What a new collection's record says of an import; None for an ingest.
    """

    extractor: ExtractorConfig
    collection: str
    imported: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TilingGroup:
    """Extractors that share a tiling: one pass over the pixels serves all of them."""

    tiling: TilingConfig
    targets: tuple[Target, ...]

    @property
    def collections(self) -> tuple[str, ...]:
        return tuple(target.collection for target in self.targets)


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """Everything that an ingest needs to know, checked before any work.

    Attributes:
        sources: The slides.
        understood: What the paths that named them were understood as.
        store_uri: The store; made where there is none.
        groups: Extractors and their collections, from `group_by_tiling`.
        config: How tissue is found and pixels are read; its tiling is replaced by each group's.
        run: How the machine is used.
        execution: Where it runs.
        retry_failed: Retry slides that failed, or had no tile, in an earlier run.
        force: Slides to embed again; their old rows stay until the new ones replace them.
        limit: Largest number of slides to ingest.
    """

    sources: Sequence[SlideSource]
    store_uri: str
    groups: Sequence[TilingGroup]
    understood: SourceSummary = field(default_factory=SourceSummary)
    config: IngestConfig = field(default_factory=IngestConfig)
    run: RunConfig = field(default_factory=RunConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    retry_failed: bool = False
    force: frozenset[str] = frozenset()
    limit: int | None = None

    def __post_init__(self) -> None:
        check_reader(self.config.reading.reader)
        if not self.groups:
            raise ConfigError("no extractor was given; `embedstore extractors` lists them")
        unknown = sorted(self.force - {source.slide_id for source in self.sources})
        if unknown:
            raise ConfigError(
                f"--force {', '.join(unknown)}: not among the {len(self.sources)} slides given; names are slide ids"
            )

    def config_for(self, group: TilingGroup) -> IngestConfig:
        """The configuration with a group's tiling."""
        return replace(self.config, tiling=group.tiling)


def group_by_tiling(
    extractors: Sequence[ExtractorConfig], tiling: Mapping[str, Any], names: Sequence[str] = ()
) -> list[TilingGroup]:
    """Group extractors by the tiles that they see, and name their collections.

    Args:
        tiling: Fields of TilingConfig that the user gave; the others are each extractor's own.
        names: Names of the collections, in the order of the extractors; '<extractor>-<px>px-<mpp>mpp' when none.
    Raises:
        ConfigError: names and extractors differ in number, or two collections would have one name.
    """
    if names and len(names) != len(extractors):
        raise ConfigError(f"{len(names)} collection names for {len(extractors)} extractors; give one each, or none")
    targets: dict[TilingConfig, list[Target]] = {}
    for i, config in enumerate(extractors):
        extractor = replace(config, tile_px=tiling.get("tile_px", config.tile_px), mpp=tiling.get("mpp", config.mpp))
        name, tile_px, mpp = describe_extractor(extractor)
        resolved = TilingConfig(**{"tile_px": tile_px, "mpp": mpp or DEFAULT_MPP, **tiling})
        default_name = f"{name}-{resolved.tile_px}px-{resolved.mpp:g}mpp".replace("/", "-").replace(":", "-")
        target = Target(extractor=extractor, collection=names[i] if names else default_name)
        targets.setdefault(resolved, []).append(target)
    groups = [TilingGroup(tiling=shared, targets=tuple(members)) for shared, members in targets.items()]
    collections = [name for group in groups for name in group.collections]
    duplicates = sorted({name for name in collections if collections.count(name) > 1})
    if duplicates:
        raise ConfigError(
            f"two extractors would share the collection {', '.join(duplicates)}; name them apart with --collection"
        )
    return groups
