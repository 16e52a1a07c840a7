"""A command that there is not."""

import pytest
from click.testing import CliRunner

from cli.main import app


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("ingst slides", "No such command 'ingst'; did you mean ingest?"),
        ("fit", "'fit'; did you mean fit-head or fit-augmenter?"),
        ("label list", "'list'; did you mean ls?"),
        ("heads ls --store s", "'ls'; it has rm, show, and lists without one. Example:  embedstore heads --store"),
        ("quux", "'quux'; `embedstore --help` lists them"),
    ],
)
def test_the_one_that_may_be_meant_is_named(typed: str, told: str):
    result = CliRunner().invoke(app, typed.split(), prog_name="embedstore")
    assert result.exit_code == 2 and told in result.stderr


def test_an_extractor_that_there_is_not_comes_with_those_of_similar_names():
    result = CliRunner().invoke(app, ["extractors", "uni2"])
    assert "no 'uni2'; close names: uni2-h" in str(result.exception)
