"""Which extractor a record is of, parsed once."""

import json

from embedstore.extractor_ref import ExtractorRef
from embedstore.extractors import load_extractor


def test_a_reference_comes_from_the_record_that_is_stored_and_back_from_json():
    extractor = load_extractor("colour-12")
    ref = ExtractorRef.from_record(json.loads(json.dumps(extractor.record())))
    assert (ref.name, ref.digest, ref.dim) == ("colour-12", extractor.digest, 12)
    assert ExtractorRef.from_record(json.loads(json.dumps(ref.as_record()))) == ref
    assert str(ref) == f"colour-12 ({extractor.digest})"
