"""Heads are evaluated the same over HTTP."""

import pytest

import embedstore
from embedstore.errors import ConfigError, LabelError
from embedstore.progress import no_progress
from tests.client.served import served
from tests.client.served_by import connect_by
from tests.heads.cohorts.conftest import Hospitals
from tests.heads.cohorts.conftest import hospitals as hospitals

pytestmark = pytest.mark.slow


def test_an_evaluation_over_http_is_that_in_the_folder(hospitals: Hospitals):
    local = embedstore.open(hospitals.here.uri)
    asked = {"where": "site = 'C'", "bootstrap": 50, "on_progress": no_progress}
    with served(hospitals.here.uri) as socket, connect_by(socket) as remote:
        there, here = (
            [{**each, "store": None} for each in store.evaluate(["tile", "mean"], by="site", **asked).as_record()]
            for store in (remote, local)
        )
        assert there == here
        one = remote.head("tile").evaluate(collection=remote.collection(), **asked)
        assert one.evaluations[0].where == "site = 'C'" and one.evaluations[0].store == remote.uri
        with pytest.raises(LabelError, match="was fitted on"):
            remote.head("tile").evaluate(where="site = 'A'", on_progress=no_progress)
        with pytest.raises(ConfigError, match="no column 'path' to show"):
            remote.head("tile").evaluate(by="path", on_progress=no_progress)
        with pytest.raises(ConfigError, match="writes no predictions"):
            remote.head("tile").evaluate(predictions="rows.csv", **asked)
