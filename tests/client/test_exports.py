"""What is not exported over HTTP."""

from pathlib import Path

import pytest

from embedstore.client.connection import Connection
from embedstore.client.exports import export_over
from embedstore.errors import ExportError


def test_dicom_which_names_the_patient_is_not_asked_of_a_service(tmp_path: Path):
    connection = Connection.__new__(Connection)  # nothing is asked of it
    with pytest.raises(ExportError, match=r"dicom copies the patient .*; export it where the store is"):
        export_over(connection, tmp_path / "out", format="dicom", on_progress=None, head="grade")
    assert not (tmp_path / "out").exists()
