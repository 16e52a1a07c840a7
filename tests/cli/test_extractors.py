"""`embedstore extractors`."""

import json

import pytest
from click.testing import CliRunner

from cli.extractors import command
from embedstore.errors import UnknownExtractorError
from embedstore.extractors import catalogue


def test_table_has_a_line_for_each():
    lines = CliRunner().invoke(command, []).stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(catalogue())
    assert lines[0].startswith("name")


def test_one_in_full_and_as_json():
    shown = CliRunner().invoke(command, ["virchow2"]).stdout
    assert "reg_tokens=4" in shown and "2560" in shown
    record = json.loads(CliRunner().invoke(command, ["virchow2", "--json"]).stdout)
    assert (record["embedding_dim"], record["gated"]) == (2560, True)
    assert len(json.loads(CliRunner().invoke(command, ["--json"]).stdout)) == len(catalogue())


def test_unknown_name():
    with pytest.raises(UnknownExtractorError, match="lists it"):
        CliRunner().invoke(command, ["nothing"], catch_exceptions=False)
