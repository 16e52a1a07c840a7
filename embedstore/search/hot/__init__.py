"""A collection kept warm: codes in memory and a mapped file of vectors, so that a search takes less than 1 ms.

It is derived from the collection and answers only for its newest version. The only home of faiss.
"""

from embedstore.search.hot.hot_index import MOST_NEIGHBOURS, HotIndex, Passing
from embedstore.search.hot.warm import WarmCollection, WarmCollections, WarmFacts

__all__ = [
    "MOST_NEIGHBOURS",
    "HotIndex",
    "Passing",
    "WarmCollection",
    "WarmCollections",
    "WarmFacts",
]
