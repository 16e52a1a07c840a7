"""Extractors from the [[extractor]] tables of a TOML file."""

from collections.abc import Sequence
from pathlib import Path

from embedstore.errors import ConfigError
from embedstore.extractors.config import ExtractorConfig
from embedstore.toml_tables import Table, errors_name_table, fields_of, read_tables

#: What an [[extractor]] table may have: the fields of ExtractorConfig, and the collection that it fills.
EXTRACTOR_FIELDS = {**fields_of({"extractor": ExtractorConfig})["extractor"], "collection": str}


def read_extractors(path: str | Path) -> list[ExtractorConfig]:
    """The extractors of a TOML file that holds only [[extractor]] tables.

    Raises:
        ConfigError: the file holds anything else, or a value is not valid.
    """
    tables = read_tables(path, {"extractor": EXTRACTOR_FIELDS}, repeated=["extractor"])
    return extractors_from_tables(tables["extractor"], path)[0]


def extractors_from_tables(tables: Sequence[Table], path: str | Path | None) -> tuple[list[ExtractorConfig], list[str]]:
    """Extractors from [[extractor]] tables, and the names of their collections: of all extractors, or of none.

    Args:
        path: Path of the file, for messages.
    """
    configs, collections = [], []
    for table in tables:
        if "ref" not in table:
            raise ConfigError(f"{path}: an [[extractor]] has no ref; expected a name of `embedstore extractors`")
        with errors_name_table(path, "extractor", table):
            configs.append(ExtractorConfig(**{field: v for field, v in table.items() if field != "collection"}))
        collections.append(table.get("collection"))
    if any(collections) and not all(collections):
        raise ConfigError(f"{path}: some [[extractor]] have a collection and some do not; name all or none")
    return configs, [name for name in collections if name]
