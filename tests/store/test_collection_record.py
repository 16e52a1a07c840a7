"""How a collection was made: there and back, records of older versions, and what makes two differ."""

from dataclasses import replace

import pyarrow as pa
import pytest

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig, ViewConfig
from embedstore.errors import StoreError
from embedstore.extractor_ref import ExtractorRecord
from embedstore.store import CollectionRecord

EXTRACTOR = {"name": "toy", "digest": "sha256:1", "dim": 8, "tile_px": 224, "mpp": 0.5, "licence": "MIT"}
RECORD = CollectionRecord(
    tiling=TilingConfig(tile_px=224),
    tissue=TissueConfig(method="all"),
    extractor=ExtractorRecord.from_record(EXTRACTOR),
    reading=ReadingConfig(),
    request={"extractor": {"ref": "toy"}},
)


@pytest.mark.parametrize("record", [RECORD, RECORD.of_views(ViewConfig(count=2))], ids=["tiles", "views"])
def test_a_record_comes_back_from_the_schema_that_keeps_it(record: CollectionRecord):
    assert CollectionRecord.from_schema(pa.schema([], metadata=record.schema_metadata()), "toy") == record


def test_a_record_of_an_older_version_has_the_defaults_of_what_it_lacks():
    old = CollectionRecord.from_record({"tiling": {"tile_px": 224}, "tissue": {}, "extractor": EXTRACTOR})
    assert (old.tiling.mpp, old.tissue, old.reading, old.request, old.views) == (0.5, TissueConfig(), None, None, None)
    assert old.tiling.downsample == "area"


@pytest.mark.parametrize("imported", [None, {"layout": "trident"}])
def test_tiles_that_were_made_smaller_in_another_way_are_others(imported):
    record, other = (
        replace(RECORD, imported=imported, tiling=TilingConfig(downsample=downsample)) for downsample in ("area", "dct")
    )
    assert record.differences(other) == ["tiling.downsample is 'area' there and 'dct' here"]


def test_only_what_decides_the_vectors_makes_two_records_differ():
    same = {**RECORD.as_record(), "request": None, "extractor": {**EXTRACTOR, "name": "elsewhere", "licence": ""}}
    assert RECORD.differences(CollectionRecord.from_record(same)) == []
    other = {**RECORD.as_record(), "tissue": {"mpp": 4.0}, "extractor": {**EXTRACTOR, "digest": "sha256:2"}}
    assert RECORD.differences(CollectionRecord.from_record(other)) == [
        "tissue.method is 'all' there and 'otsu' here",
        "tissue.mpp is 8.0 there and 4.0 here",
        "extractor.digest is 'sha256:1' there and 'sha256:2' here",
    ]


def test_a_setting_that_this_version_does_not_have_is_an_error_that_says_what_to_do():
    raw = RECORD.schema_metadata()[b"embedstore.collection"].replace(b'"exclude_pen"', b'"exclude_pencil"')
    with pytest.raises(StoreError, match=r"collection toy cannot be read: .*exclude_pencil.*install the embedstore"):
        CollectionRecord.from_schema(pa.schema([], metadata={b"embedstore.collection": raw}), "toy")
