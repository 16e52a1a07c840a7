"""The face of a store over HTTP is that of a store in a folder: the same names, arguments and defaults."""

import ast
import inspect
import textwrap

import pytest

from embedstore import api, client
from embedstore.client.not_remote import ONLY_AT_STORE
from embedstore.search import Query

PAIRS = [
    (api.Store, client.RemoteStore),
    (api.Collection, client.RemoteCollection),
    (api.SearchResult, client.RemoteSearchResult),
    (api.AccessLog, client.RemoteAccessLog),
    (api.Head, client.RemoteHead),
    (api.Augmenter, client.RemoteAugmenter),
    (api.Labels, client.RemoteLabels),
]  # fmt: skip
#: What a client has beyond the face of a store: its connections are closed.
ONLY_REMOTE = {"Store.close"}


def public(kind: type) -> dict[str, object]:
    """Public names of a class: what it defines, and None for each attribute that `__init__` sets."""
    set_later = {name: None for base in kind.__mro__[:-1] for name in set_by_init(base)}
    own = {name: inspect.getattr_static(kind, name) for name in dir(kind)}
    return {name: value for name, value in (set_later | own).items() if not name.startswith("_")}


def set_by_init(kind: type) -> set[str]:
    if "__init__" not in vars(kind):
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(vars(kind)["__init__"])))
    attributes = (
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    )
    return {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "self"}


@pytest.mark.parametrize(("at_store", "remote"), PAIRS)
def test_both_faces_have_the_same_names(at_store: type, remote: type):
    face = at_store.__name__
    extra = {name for name in public(remote) if f"{face}.{name}" in ONLY_REMOTE}
    assert public(remote).keys() - extra == public(at_store).keys()
    for name, here in vars(remote).items():
        if not name.startswith("_"):
            assert inspect.getdoc(here), f"{remote.__name__}.{name} has no docstring"


@pytest.mark.parametrize(("at_store", "remote"), PAIRS)
def test_both_faces_take_the_same_arguments(at_store: type, remote: type):
    for name, there in public(at_store).items():
        if f"{at_store.__name__}.{name}" in ONLY_AT_STORE:
            continue
        here = public(remote)[name]
        assert is_value(here) == is_value(there), name
        if callable(there):
            assert arguments(here) == arguments(there), f"{at_store.__name__}.{name}"


def test_what_is_only_at_the_store_is_listed_once_and_is_part_of_the_face():
    faces = {f"{kind.__name__}.{name}" for kind, _ in PAIRS for name in public(kind)}
    assert ONLY_AT_STORE.keys() <= faces


def test_a_query_has_the_same_attributes():
    assert client.RemoteQuery.__dataclass_fields__.keys() == Query.__dataclass_fields__.keys()


def is_value(member: object) -> bool:
    """Whether it is read, not called."""
    return not callable(member)


def arguments(call: object) -> list[tuple[str, object, object]]:
    assert callable(call)
    parameters = inspect.signature(call).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]
