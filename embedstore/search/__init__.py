"""What is near what: tiles like a tile, slides like a slide, duplicates and outliers."""

from embedstore.search.asked import as_query
from embedstore.search.duplicates import Duplicates, find_duplicates
from embedstore.search.filters import Selection, filter_columns, select_slides, select_tiles
from embedstore.search.hits import Hits
from embedstore.search.image_query import image_query
from embedstore.search.leaks import Leaks, find_leaks
from embedstore.search.neighbours import SearchConfig, search
from embedstore.search.outliers import Outliers, find_outliers
from embedstore.search.prototype import prototype_query
from embedstore.search.query import Query, away_from
from embedstore.search.slide_search import similar_slides
from embedstore.search.tile_query import place_query, region_query, tile_query
from embedstore.search.vector_file import vector_query

__all__ = [
    "Duplicates",
    "Hits",
    "Leaks",
    "Outliers",
    "Query",
    "SearchConfig",
    "Selection",
    "as_query",
    "away_from",
    "filter_columns",
    "find_duplicates",
    "find_leaks",
    "find_outliers",
    "image_query",
    "place_query",
    "prototype_query",
    "region_query",
    "search",
    "select_slides",
    "select_tiles",
    "similar_slides",
    "tile_query",
    "vector_query",
]
