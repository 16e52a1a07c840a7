"""A table as a stream of Arrow, as the service and its clients send it to each other."""

import pyarrow as pa

#: The media type of such a stream.
ARROW = "application/vnd.apache.arrow.stream"


def stream_of(table: pa.Table) -> pa.Buffer:
    """The bytes of a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
