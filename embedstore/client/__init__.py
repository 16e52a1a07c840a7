"""The client of a service: `connect` gives a store over HTTP with the face of `embedstore.open`. The home of httpx2."""

from embedstore.client.access_log import RemoteAccessLog
from embedstore.client.augmenter import RemoteAugmenter
from embedstore.client.collection import RemoteCollection
from embedstore.client.head import RemoteHead
from embedstore.client.labels import RemoteLabelImport, RemoteLabels
from embedstore.client.query import RemoteQuery
from embedstore.client.search_result import RemoteSearchResult
from embedstore.client.store import RemoteStore, connect

__all__ = [
    "RemoteAccessLog",
    "RemoteAugmenter",
    "RemoteCollection",
    "RemoteHead",
    "RemoteLabelImport",
    "RemoteLabels",
    "RemoteQuery",
    "RemoteSearchResult",
    "RemoteStore",
    "connect",
]
