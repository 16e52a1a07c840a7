"""The reader of an import: plans a slide from the files of another tool, and reads its vectors."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.reader import Chunk, PlannedSlide
from embedstore.errors import EmbedStoreError, UnknownKeyError
from embedstore.layouts import Entry, FeatureConfig, Features, SlideFacts, TileFacts, open_apart, place_tiles
from embedstore.slides import SlidePlan, SlideSource, fingerprint, open_slide, resolve_mpp
from embedstore.uris import is_uri


@dataclass(frozen=True, kw_only=True)
class SlideFile:
    """What the file of a slide says, or said when it was ingested.

    Attributes:
        facts: What its tiles are placed by.
        of_plan: Fields of SlidePlan that describe the slide.
    """

    facts: SlideFacts
    of_plan: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FeatureSource(SlideSource):
    """A slide of an import: its vectors, and its file where that was found; else its `path` is "".

    Attributes:
        entry: The files of its vectors.
        layout: Name of their layout.
        known: What the store knows of the slide's file; None where it has to be opened.
    """

    entry: Entry
    layout: str
    known: SlideFile | None = None


class FeatureReader:
    """Plans slides and reads ranges of their vectors.

    Args:
        config: What the user says of the vectors.
        wanted: What the collection holds.
    """

    def __init__(self, config: FeatureConfig, wanted: TileFacts) -> None:
        self._config, self._wanted = config, wanted
        self._open: dict[str, Features] = {}

    def ping(self) -> None:
        """Return, to show that the worker is alive."""

    def plan(self, source: FeatureSource, ahead: SlideSource | None = None) -> PlannedSlide:
        """Read a slide's places, and check them."""
        began = time.perf_counter()
        slide = open_slide_of(source, self._config)
        with open_features(source, slide.facts) as features:
            known = facts_with(features, slide.facts)
            placed = place_tiles(source.slide_id, features, self._config, known, self._wanted)
        plan = SlidePlan(
            slide_id=source.slide_id,
            source=source,
            xy_l0=placed.xy_l0,
            names=placed.names,
            tissue=None,
            edge_l0=placed.edge_l0,
            edges_l0=placed.edges_l0,
            level=0,
            **{
                "reader": "",
                "size_l0": known.size_l0 or (0, 0),
                "mpp": known.mpp,
                "vendor": "",
                "tissue_mm2": None,
                "fingerprint": "",
                **slide.of_plan,
                "warnings": (*slide.of_plan.get("warnings", ()), *placed.warnings),
            },
        )
        return PlannedSlide(plan=plan, plan_s=time.perf_counter() - began)

    def open(self, key: str, planned: PlannedSlide) -> None:
        """Open a slide's vectors for reading, under the key of this attempt."""
        source = planned.plan.source
        assert isinstance(source, FeatureSource)
        size = planned.plan.size_l0 if any(planned.plan.size_l0) else None
        self._open[key] = open_features(source, SlideFacts(mpp=planned.plan.mpp, size_l0=size))

    def read(self, key: str, start: int, stop: int) -> tuple[Chunk, NDArray[np.floating]]:
        """Read the vectors of tiles `start` to `stop` of a slide that was opened, (n, dim)."""
        began = time.perf_counter()
        if key not in self._open:
            raise UnknownKeyError(f"this reader has not opened {key!r}")
        vectors = self._open[key].read(start, stop)
        readable = np.ones(stop - start, bool)
        return Chunk(key=key, start=start, readable=readable, read_s=time.perf_counter() - began), vectors

    def close(self, key: str) -> None:
        """Close a slide, if it is open."""
        if (features := self._open.pop(key, None)) is not None:
            features.close()


def open_features(source: FeatureSource, slide: SlideFacts) -> Features:
    """Open the vectors of a slide, in a process of its own."""
    return open_apart(source.layout, source.entry, slide)


def open_slide_of(source: FeatureSource, config: FeatureConfig) -> SlideFile:
    """What the file of a slide says, if it has one that can be read here, and what the user says of its resolution."""
    if source.known is not None:
        return source.known
    given = source.mpp if source.mpp is not None else config.slide_mpp
    if not source.path or is_uri(source.path):
        return SlideFile(facts=SlideFacts(mpp=given), of_plan={})
    try:
        with open_slide(source.path) as slide:
            mpp, warnings = given, list[str]()
            if given is not None or slide.mpp is not None:
                mpp, warnings = resolve_mpp(slide, source.slide_id, given)
            return SlideFile(
                facts=SlideFacts(mpp=mpp, size_l0=slide.size_l0),
                of_plan={
                    "reader": slide.reader,
                    "vendor": slide.vendor,
                    "bounds_l0": slide.bounds_l0,
                    "fingerprint": fingerprint(source.path),
                    "warnings": (*slide.warnings, *warnings),
                },
            )
    except (EmbedStoreError, OSError) as error:
        unread = f"its file cannot be read, so that its places are not checked against it: {error}"
        return SlideFile(facts=SlideFacts(mpp=given), of_plan={"warnings": (unread,)})


def facts_with(features: Features, slide: SlideFacts) -> SlideFacts:
    """What is known of a slide, from its file first, then from the files of its vectors."""
    stated = features.facts
    return replace(slide, mpp=slide.mpp or stated.slide_mpp, size_l0=slide.size_l0 or stated.size_l0)
