"""One table, many threads: readers share it while another thread deletes from it and adds to it."""

import subprocess
import sys

import pytest

# In a process of its own: what it guards against is a deadlock that not even a signal handler of Python gets out of.
_SCRIPT = """
import sys, threading
import pyarrow as pa
from embedstore.store.table import Table

table = Table(sys.argv[1], "shared")
table.create(pa.schema([pa.field("key", pa.string(), nullable=False), pa.field("value", pa.int64())]))
table.upsert("key", [{"key": f"k{i}", "value": i % 7} for i in range(2000)])
stop, errors, reads = threading.Event(), [], [0] * 6

def read(number):
    try:
        while not (stop.is_set() and reads[number]):
            table.open().to_table(filter=f"value = {number}")
            reads[number] += 1
    except Exception as error:
        errors.append(error)

readers = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(6)]
for each in readers:
    each.start()
writer = Table(sys.argv[1], "shared")
for i in range(40):
    writer.delete(f"key = 'k{i}'")
    writer.upsert("key", [{"key": f"new{i}", "value": 0}])
stop.set()
for each in readers:
    each.join()
assert not errors, errors
assert all(reads), reads
assert table.open().count_rows() == 2000
print("done")
"""


@pytest.mark.slow
def test_threads_read_a_shared_table_while_another_deletes_and_adds(tmp_path):
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "done\n", done.stderr
