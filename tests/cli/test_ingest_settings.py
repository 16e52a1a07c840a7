"""Settings of ingest: defaults < file < flags, and files that are refused."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from actors.request import IngestRequest
from cli.ingest import command
from cli.ingest_settings import resolve
from embedstore.api.ingest import ingest_request
from embedstore.errors import ConfigError


def resolved(*flags: object) -> IngestRequest:
    """What `ingest` is asked to do with these flags."""
    options = resolve(command.make_context("ingest", ["slides/", "--store", "store", *map(str, flags)]).params)
    with TemporaryDirectory() as folder:
        slide = Path(folder, "a.svs")
        slide.write_bytes(b"II*\0")
        return ingest_request(slide, "store", **options)


def from_file(folder: Path, text: str, *flags: object) -> IngestRequest:
    path = folder / "ingest.toml"
    path.write_text(text)
    return resolved("--config", path, *flags)


def test_without_anything_stain_texture_is_used():
    group = resolved().groups[0]
    assert group.collections == ("stain-texture-256px-0.5mpp",)


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path):
    text = "[tiling]\nmin_tissue = 0.3\nmpp = 1.0\n[run]\nreaders = 3\n[tissue]\nexclude_pen = false\n"
    settings = from_file(tmp_path, text, "--min-tissue", 0.7)
    tiling = settings.groups[0].tiling
    assert (tiling.min_tissue, tiling.mpp, tiling.tile_px) == (0.7, 1.0, 256)
    assert settings.run.readers == 3
    assert settings.config.tissue.exclude_pen is False


@pytest.mark.parametrize(
    ("text", "flags", "count"),
    [
        ("", [], None),
        ("", ["--views", 0], None),
        ("", ["--views", 3], 3),
        ("[views]\n", [], 4),
        ("[views]\nblur = 0.5\n", [], 4),
        ("[views]\ncount = 2\n", [], 2),
        ("[views]\ncount = 2\n", ["--views", 6], 6),
        ("[views]\ncount = 2\n", ["--views", 0], None),
        ("[views]\ncount = 0\n", [], None),
    ],
)
def test_views_are_made_where_flag_or_file_asks_for_them(tmp_path: Path, text: str, flags: list, count: int | None):
    views = from_file(tmp_path, text, *flags).config.views
    assert (views and views.count) == count
    assert views is None or views.blur == (0.5 if "blur" in text else 1.5)


def test_extractors_of_the_file_each_have_their_own_settings(tmp_path: Path):
    text = """
        [[extractor]]
        ref = "colour-12"
        collection = "colour"
        [[extractor]]
        ref = "stain-texture"
        tile_px = 128
        collection = "texture"
    """
    groups = from_file(tmp_path, text).groups
    assert [(group.tiling.tile_px, group.collections) for group in groups] == [(256, ("colour",)), (128, ("texture",))]


def test_extractors_that_share_a_tiling_share_a_pass(tmp_path: Path):
    groups = resolved("-e", "colour-12", "-e", "stain-texture").groups
    assert [len(group.targets) for group in groups] == [2]


def test_extractors_given_by_flag_replace_those_of_the_file(tmp_path: Path):
    settings = from_file(tmp_path, '[[extractor]]\nref = "stain-texture"\n', "-e", "colour-12")
    assert settings.groups[0].collections == ("colour-12-256px-0.5mpp",)


def test_one_extractor_needs_one_pair_of_brackets(tmp_path: Path):
    settings = from_file(tmp_path, '[extractor]\nref = "colour-12"\n')
    assert settings.groups[0].collections == ("colour-12-256px-0.5mpp",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tilling]\n", r"'tilling'; expected the tables \[tiling\], .*\[run\], \[\[extractor\]\]"),
        ("[tiling]\ntile = 3\n", r"\[tiling\] has tile; expected some of downsample, min_tissue, mpp, stride_px"),
        ("tiling = 3\n", r"tiling is the value 3; expected a table, \[tiling\]"),
        ("[tiling\n", "is not TOML"),
        ('extractor = ["uni"]\n', r"extractor is the value \['uni'\]; expected a table, \[\[extractor\]\]"),
        ('[[extractor]]\nname = "x"\n', "has no ref"),
        ('[[extractor]]\nrefs = "x"\n', "has refs; expected some of"),
        ('[[extractor]]\nref="colour-12"\n[[extractor]]\nref="stain-texture"\ncollection="s"\n', "name all or none"),
        ("[tiling]\ntile_px = 3\n", r"ingest.toml: \[tiling\] tile_px is 3; expected 16 to 8192"),
        ("[tissue]\nmpp = 99\n", r"ingest.toml: \[tissue\] tissue mpp is 99.0; expected 0.5 to 64"),
        ("[[extractor]]\nref = 'a'\nmean = [0.5]\n", r"ingest.toml: \[extractor\] mean has 1 values; expected three"),
        ("[views]\ncount = 65\n", "views is 65; expected 1 to 64"),
        ("[views]\ncolour = 1\n", r"\[views\] has colour; expected some of blur, brightness, contrast, count, crop"),
    ],
)
def test_a_file_that_means_nothing_is_refused(tmp_path: Path, text: str, said: str):
    with pytest.raises(ConfigError, match=said):
        from_file(tmp_path, text)


def test_two_extractors_cannot_share_a_collection():
    with pytest.raises(ConfigError, match="would share the collection"):
        resolved("-e", "colour-12", "-e", "stain-texture", "-c", "one", "-c", "one")


def test_names_of_collections_must_be_one_each():
    with pytest.raises(ConfigError, match="1 collection names for 2 extractors"):
        resolved("-e", "colour-12", "-e", "stain-texture", "-c", "one")
