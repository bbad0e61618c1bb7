"""Parquet files, as data sets on the Hub have them: every row's ``text`` is a document."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from seqmem.data.sources.files import File
from seqmem.data.sources.records import Record
from seqmem.errors import SeqmemError

NAMES = ("id", "short_book_title", "title", "name", "url")
ROWS = 8  # of a batch; a book each


def count(file: File) -> int:
    with _table(file) as table:
        return int(table.metadata.num_rows)


def read(file: File) -> Iterator[Record]:
    """A record is called what its first column of :data:`NAMES` says, else by its row.

    Raises:
        SeqmemError: no rows, no column ``text`` of strings, or the file cannot be read.
    """
    with _table(file) as table:
        columns = table.schema_arrow.names
        name = next((name for name in NAMES if name in columns), None)
        for number, row in enumerate(_rows(table, ["text", *([name] if name else [])]), 1):
            text = row["text"]
            yield Record(str(row[name]) if name else f"row-{number}", "" if text is None else text)


def _rows(table: Any, columns: list[str]) -> Iterator[dict[str, Any]]:
    for batch in table.iter_batches(batch_size=ROWS, columns=columns):
        yield from batch.to_pylist()


@contextmanager
def _table(file: File) -> Iterator[Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise SeqmemError(
            f"{file.location}: the package pyarrow, which reads it, is missing; pip install 'seqmem[data]'"
        ) from None
    with file.open() as content:
        try:
            table = pq.ParquetFile(content)
            _check(file, table, pa)
            yield table
        except (pa.ArrowException, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise SeqmemError(
                f"{file.location} is no Parquet file that can be read ({reason}); fetch it again"
            ) from None


def _check(file: File, table: Any, pa: Any) -> None:
    schema = table.schema_arrow
    kind = schema.field("text").type if "text" in schema.names else None
    if kind is None or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise SeqmemError(f"{file.location} has no column 'text' of strings; it has {columns[:200]}; rename the column")
    if not table.metadata.num_rows:
        raise SeqmemError(f"{file.location} is empty; remove it or give it rows")
