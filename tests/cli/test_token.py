"""`embedstore token` makes, lists and revokes tokens, and prints a secret once."""

import json

import pytest
from click.testing import CliRunner

import embedstore
from cli.main import app


@pytest.fixture
def run(tmp_path):
    embedstore.create(tmp_path)
    return lambda *words, **options: CliRunner().invoke(app, ["token", *words, "--store", str(tmp_path)], **options)


def test_token_is_printed_once_listed_and_revoked(run):
    assert "has no token yet" in run("ls").output
    made = run("create", "--name", "ada", "--role", "fit", "--expires", "90d")
    assert made.stdout.startswith("embedstore_") and made.stdout.count("\n") == 1 and "password" in made.stderr
    listed = run("ls")
    assert "ada" in listed.stdout and "fit" in listed.stdout and made.stdout.strip() not in listed.output
    (row,) = json.loads(run("ls", "--json").stdout)
    assert (row["state"], row["used_at"], row["expires_at"][:2]) == ("valid", None, "20")
    assert run("revoke", "ada", input="n\n").exit_code == 1
    assert run("revoke", "ada", "--yes").exit_code == 0
    assert json.loads(run("ls", "--json").stdout)[0]["state"] == "revoked"
    assert json.loads(run("create", "--name", "ada", "--json").stdout)["role"] == "read"


@pytest.mark.parametrize("expires", ["90", "0d", "1w", "-3d", "99999999d"])
def test_time_that_is_none_is_wrong_usage(run, expires):
    asked = run("create", "--name", "ada", "--expires", expires)
    assert asked.exit_code == 2 and "such as 90d, 12h or 30m" in asked.output
