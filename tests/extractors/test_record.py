"""The record of an extractor, parsed once."""

import json

from embedstore.extractors import ExtractorRecord, load_extractor


def test_a_record_comes_back_from_json():
    extractor = load_extractor("colour-12")
    stored = json.loads(json.dumps(extractor.record()))
    record = ExtractorRecord.from_record(stored)
    assert (record.name, record.dim, record.tile_px, record.digest) == ("colour-12", 12, 256, extractor.digest)
    assert record.details["licence"] == "Apache-2.0"
    assert record.as_record() == stored
