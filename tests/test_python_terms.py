"""Messages that name flags and commands say what these are in Python."""

import ast
import dataclasses
import inspect
import pickle
import re
import traceback
from functools import cache

import pytest

import embedstore.api as api
from embedstore import config, encoders
from embedstore.access_config import AccessConfig
from embedstore.errors import EmbedStoreError, SlideNotFoundError
from embedstore.export import ExportRequest
from embedstore.extractors import ExtractorConfig
from embedstore.labels import ImportConfig
from embedstore.python_terms import CALLS, python_terms
from embedstore.search_config import SearchConfig
from embedstore.service_config import ServiceConfig
from heads import config as heads_config
from heads.prompts import ZeroShotConfig
from tests.packaging.sources import files_with, syntax_tree

#: Of pip, of hf, of vips, of a module run as a script; and what only the command line has.
NO_FLAGS = {
    "json",
    "list",
    "local-dir",
    "force-reinstall",
    "quiet",
    "tile",
    "pyramid",
    "compression",
    "constants",
    "upgrade",
    "runs",
    "watch",
}
CSS = {"accent", "card", "ink", "line", "paper"}


@pytest.mark.parametrize(
    ("message", "terms"),
    [
        ("it failed", ""),
        ("pass --mpp 0.25 if you know it", "mpp=0.25"),
        ("use --tissue all", "tissue={'method': 'all'}"),
        ("pass --folds 3, or --split holdout", "split={'folds': 3}; split={'kind': 'holdout'}"),
        ("another --name, or --replace", "name=…; replace=True"),
        ("`embedstore predict --head h --slide a` makes them", "head.predict(slides=[…])"),
        ("`embedstore ingest … --views 4` makes them", "store.ingest(slides, views=4)"),
        ("`embedstore ingest SLIDES --store PATH` makes one", "embedstore.create(path).ingest(slides)"),
        ("`embedstore map --collection c` makes it", "collection.make_map()"),
        ("or pass --no-access-log", "access_log=False"),
        ("run `embedstore rm --collection NAME` there", "store.remove_collection(collection=…)"),
        ("`embedstore encode-slides --list` shows them", "embedstore.encoders.published_encoders()"),
        ("`embedstore ingest SLIDES --dry-run` tells", "store.estimate_ingest(slides)"),
        ("`embedstore export --store s --layout parquet`", "embedstore.create(path).export_layout(folder, layout=…)"),
        ("`embedstore status` lists them; `embedstore status` too", "store.status"),
        ("`ray start --head`, or leave --address out", "execution={'address': …}"),
        ("`embedstore rm --encoding c/mean` removes it", "collection.remove_encoding(encoder=…)"),
        ("pass a file with --weights FILE", "ExtractorConfig(ref=…, weights=…)"),
    ],
)
def test_flags_and_commands_in_python(message: str, terms: str):
    assert python_terms(message) == terms


def test_tracebacks_show_the_terms_and_messages_do_not():
    error = SlideNotFoundError("no slide; pass --mpp 0.25")
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert str(each) == "no slide; pass --mpp 0.25"
        assert "".join(traceback.format_exception_only(each)).count("In Python: mpp=0.25") == 1
    assert not hasattr(EmbedStoreError("no slide"), "__notes__")
    assert str(EmbedStoreError()) == ""


@cache
def _texts() -> list[str]:
    return [
        node.value
        for path in files_with("--")
        if path.parts[0] in ("embedstore", "heads", "actors")
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.slow
def test_every_flag_of_a_message_is_a_keyword():
    """A flag that is renamed in Python belongs into the table of `embedstore.python_terms`."""
    flags = {flag for text in _texts() for flag in re.findall(r"--([a-z][a-z0-9-]+)\b(?!:)", text)} - NO_FLAGS - CSS
    calls = [
        member
        for kind in (api.Store, api.Collection, api.Head, api.Labels, api.Tokens)
        for _, member in inspect.getmembers(kind, inspect.isfunction)
    ]
    keywords = {name for call in (*calls, api.inspect_tissue) for name in inspect.signature(call).parameters}
    modules = [vars(config), vars(heads_config)]
    configs = [each for names in modules for each in names.values() if dataclasses.is_dataclass(each)]
    for kind in (
        *configs,
        ExportRequest,
        ExtractorConfig,
        ImportConfig,
        SearchConfig,
        AccessConfig,
        ServiceConfig,
        ZeroShotConfig,
    ):
        keywords |= {field.name for field in dataclasses.fields(kind)}
    for flag in flags - {"store", "no-picture"}:
        names = re.findall(r"(\w+)=|'(\w+)':", python_terms(f"pass --{flag}"))
        assert names and {name for pair in names for name in pair if name} <= keywords, flag


@pytest.mark.slow
def test_every_command_of_a_message_has_a_call():
    commands = {
        found
        for text in _texts()
        for found in re.findall(r"`embedstore ([a-z-]+(?: (?:import|export|ls|history|undo|create|revoke)\b)?)", text)
    }
    assert commands and commands <= CALLS.keys() | {"doctor", "serve"}, commands - CALLS.keys()


#: {what a term begins with: what has its call}.
OBJECTS = {
    "store": api.Store,
    "embedstore.create(path)": api.Store,
    "store.labels": api.Labels,
    "store.tokens": api.Tokens,
    "collection": api.Collection,
    "head": api.Head,
    "embedstore": api,
    "embedstore.encoders": encoders,
}


def test_every_call_that_a_message_names_takes_what_the_message_gives_it():
    terms = {term for text in _texts() for term in python_terms(text).split("; ") if term.endswith(")")}
    called = 0
    for term in sorted(terms):
        named, given = re.fullmatch(r"(.+?)\(((?:[^()]|\([^()]*\))*)\)", re.sub(r"\{.*?\}", "…", term)).groups()
        if (path := named.rpartition("."))[0] not in OBJECTS:
            continue
        call = getattr(OBJECTS[path[0]], path[2])
        parameters = inspect.signature(call).parameters
        further = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        keywords = set(re.findall(r"(\w+)=", given))
        assert further or keywords <= parameters.keys(), term
        called += 1
    assert called > 10
