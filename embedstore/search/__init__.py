"""Search by similarity: the tiles nearest to a query, slides like a slide, and audits of a collection."""

from embedstore.search.audits import (
    Duplicates,
    DuplicateSlides,
    Leaks,
    Outliers,
    find_duplicates,
    find_leaks,
    find_outliers,
)
from embedstore.search.encoded_slides import similar_encoded_slides
from embedstore.search.filters import Selection, filter_columns, filter_tiles, select_slides, select_tiles
from embedstore.search.hits import Hits
from embedstore.search.many import search_many
from embedstore.search.neighbours import search
from embedstore.search.queries import (
    Query,
    away_from,
    image_query,
    many_queries,
    more_like,
    place_query,
    prototype_query,
    region_query,
    text_query,
    tile_query,
    to_query,
    vector_query,
)
from embedstore.search.slide_search import similar_slides
from embedstore.search_config import SearchConfig

__all__ = [
    "DuplicateSlides",
    "Duplicates",
    "Hits",
    "Leaks",
    "Outliers",
    "Query",
    "SearchConfig",
    "Selection",
    "away_from",
    "filter_columns",
    "filter_tiles",
    "find_duplicates",
    "find_leaks",
    "find_outliers",
    "image_query",
    "many_queries",
    "more_like",
    "place_query",
    "prototype_query",
    "region_query",
    "search",
    "search_many",
    "select_slides",
    "select_tiles",
    "similar_encoded_slides",
    "similar_slides",
    "text_query",
    "tile_query",
    "to_query",
    "vector_query",
]
