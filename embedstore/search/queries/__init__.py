"""Queries: a direction among a collection's vectors, from a tile, a place, an image, words, numbers or labels."""

from embedstore.search.queries.image_query import image_query
from embedstore.search.queries.many_queries import ManyQueries, many_queries
from embedstore.search.queries.prototype import prototype_query
from embedstore.search.queries.query import Query, away_from, more_like
from embedstore.search.queries.text_query import text_query
from embedstore.search.queries.tile_query import place_query, region_query, tile_query
from embedstore.search.queries.to_query import to_query
from embedstore.search.queries.vector_file import vector_query

__all__ = [
    "ManyQueries",
    "Query",
    "away_from",
    "image_query",
    "many_queries",
    "more_like",
    "place_query",
    "prototype_query",
    "region_query",
    "text_query",
    "tile_query",
    "to_query",
    "vector_query",
]
