"""The process of a command or a worker has no pandas until something asks for a data frame."""

import subprocess
import sys

import pytest

from tests.marks import slow
from tests.packaging.sources import REPOSITORY

CODE = """
import sys
from embedstore.pandas_deferred import defer_pandas
{first}
defer_pandas()
import pyarrow as pa, lance
from embedstore import api
table = pa.table({{"slide": ["a", None], "n": [1, 2]}})
assert "pandas" not in sys.modules, "something imports pandas"
frame = table.to_pandas()
assert frame["n"].tolist() == [1, 2] and pa.table(frame).select(table.column_names).equals(table)
assert not [finder for finder in sys.meta_path if "pandas_deferred" in getattr(finder, "__module__", "")]
"""


@pytest.mark.parametrize("first", [slow(""), "import pyarrow"])
def test_pandas_is_imported_when_a_data_frame_is_asked_for(first: str):
    """Also where pyarrow is there already, as in a worker of Ray."""
    pytest.importorskip("pandas")
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(first=first)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
