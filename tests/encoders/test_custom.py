"""Slide encoders of users: a function that calls a published encoder's own code, and what it may do wrong."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from embedstore.encoders import Bag, CustomSlideEncoder, SlideEncoder, encode_slides, load_encoder, published_encoders
from embedstore.errors import ConfigError, EncoderMismatchError, UnknownEncoderError
from tests.encoders.scene import EDGE, make_store, random_slides

SIZES = {"a0.svs": 3, "b0.svs": 20}
TITAN_TILES = {"tile_px": 512, "mpp": 0.5}


@pytest.fixture
def of_function(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SlideEncoder]:
    """The encoder that a function `made` of a module gives."""

    def load(made: object) -> SlideEncoder:
        module = SimpleNamespace(made=lambda: made)
        monkeypatch.setitem(__import__("sys").modules, "my_encoders", module)
        return load_encoder("my_encoders:made", device="cpu")

    return load


def test_a_function_of_arrays_gets_whole_slides(tmp_path: Path, of_function):
    seen = {}

    def encode(vectors, coordinates, edge_l0, mpp):
        seen[len(vectors)] = coordinates, edge_l0, mpp
        return np.concatenate([vectors.max(axis=0), coordinates.max(axis=0)])

    slides = random_slides(SIZES)
    store = make_store(tmp_path, slides)
    encoder = of_function(CustomSlideEncoder(encode=encode, version="1", name="largest"))
    done = encode_slides(store, store.collection("toy"), encoder, name=encoder.name)
    assert not done.failed and done.record is not None
    assert (done.record.source, done.record.ref.name) == ("my_encoders:made", "largest")
    coordinates, edge_l0, mpp = seen[20]
    assert (edge_l0, mpp) == (EDGE, 0.5)
    np.testing.assert_array_equal(coordinates[9], [EDGE, EDGE])  # rows of eight
    names, vectors = store.encoding("toy", "largest").vectors(slides)
    for name, vector in zip(names, vectors, strict=True):
        np.testing.assert_array_equal(vector[:6], slides[name].max(axis=0))


@pytest.mark.slow  # imports torch
def test_the_document_s_titan_is_called_as_its_own_code_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for the package with the same call: `encode_slide_from_patch_features(features, coords, edge)`."""
    torch = pytest.importorskip("torch")

    class Titan(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.eye(6))

        def encode_slide_from_patch_features(self, features, coords, patch_size_lv0):
            assert features.shape[0] == coords.shape[0] == 1 and coords.dtype == torch.int64 and patch_size_lv0 == EDGE
            assert not torch.is_grad_enabled() and not self.training
            return (features @ self.weight).mean(dim=1)

    def from_pretrained(name: str, *, trust_remote_code: bool) -> Titan:
        assert (name, trust_remote_code) == ("MahmoodLab/TITAN", True)
        return Titan()

    fake = SimpleNamespace(AutoModel=SimpleNamespace(from_pretrained=from_pretrained))
    monkeypatch.setitem(__import__("sys").modules, "transformers", fake)
    text = Path("docs/slide-encoders.md").read_text(encoding="utf-8")
    path = tmp_path / "titan.py"
    path.write_text(text.partition("# titan.py\n")[2].partition("```")[0])

    slides = random_slides(SIZES)
    details = {"tiling": TITAN_TILES, "name": "conch_v15", "source": "hub:MahmoodLab/conchv1_5"}
    store = make_store(tmp_path, slides, **details)
    encoder = load_encoder(f"{path}:titan", device="cpu")
    with pytest.raises(EncoderMismatchError, match=r"takes vectors of 768 values; .* \(6 values\)"):
        encode_slides(store, store.collection("toy"), encoder, name="titan")
    monkeypatch.setattr(encoder, "_wanted", type(encoder._wanted)(extractors=("conch-v1.5",), tile_px=512, mpp=0.5))
    done = encode_slides(store, store.collection("toy"), encoder, name="titan")
    assert not done.failed and done.record is not None and done.record.details["published"]["licence"]
    _, vectors = store.encoding("toy", "titan").vectors(slides)
    np.testing.assert_allclose(vectors[0], slides["a0.svs"].astype(np.float32).mean(axis=0), rtol=1e-5)
    assert load_encoder(f"{path}:titan", device="cpu").digest == encoder.digest


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"extractor": "uni"}, "takes the extractor uni; collection 'toy' has vectors of toy"),
        ({"tile_px": 224}, "takes tiles of 224 px;"),
        ({"mpp": 1.0}, "takes 1.0 µm/px;"),
        ({"published": "prism"}, "the extractor virchow .*vectors of 2560 values, tiles of 224 px;"),
    ],
)
def test_other_tiles_than_an_encoder_takes_are_refused(tmp_path: Path, of_function, wanted, message: str):
    store = make_store(tmp_path, random_slides(SIZES))
    encoder = of_function(CustomSlideEncoder(encode=lambda *tiles: tiles[0][0], version="1", **wanted))
    with pytest.raises(EncoderMismatchError, match=message):
        encode_slides(store, store.collection("toy"), encoder, name="mine")
    assert store.encodings() == []


def test_imported_vectors_of_unknown_weights_are_taken_by_their_name_with_a_note(tmp_path: Path, of_function):
    store = make_store(tmp_path, random_slides(SIZES), name="UNI", digest="unknown:1")
    encoder = of_function(CustomSlideEncoder(encode=lambda *tiles: tiles[0][0], version="1", extractor="uni"))
    (note,) = encode_slides(store, store.collection("toy"), encoder, name="mine").notes
    assert "not known which weights of UNI" in note


def test_ready_made_tiles_have_no_place_for_an_encoder_that_needs_one(tmp_path: Path, of_function, monkeypatch):
    store = make_store(tmp_path, random_slides(SIZES), names=True)
    for needs, failed in ((None, 2), (False, 0)):
        custom = CustomSlideEncoder(encode=lambda *tiles: tiles[0][0], version="1", needs_places=needs)
        done = encode_slides(store, store.collection("toy"), of_function(custom), name="mine")
        assert len(done.failed) == failed and all("have no place" in reason for reason in done.failed.values())


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (7, UnknownEncoderError, "returned a int"),
        (CustomSlideEncoder(encode=len), ConfigError, "does not say which weights"),
        (CustomSlideEncoder(encode=len, version="1", published="none"), ConfigError, "expected one of titan"),
    ],
)
def test_what_a_function_may_not_return(of_function, made: object, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        of_function(made)


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("nobody", "--list"),
        ("titan", "file.py:function"),
        ("no_such_module:f", "slide encoder 'no_such_module:f': there is no module"),
        ("json:nothing", "has no 'nothing'"),
    ],
)
def test_a_name_that_is_no_encoder_says_what_to_do(ref: str, message: str):
    with pytest.raises(UnknownEncoderError, match=message):
        load_encoder(ref)


def test_an_encoder_of_one_s_own_takes_tiles_block_by_block(of_function):
    class Own(SlideEncoder):
        name, source, digest = "own", "own", "sha256:own"

        def open_bag(self, tiles: int) -> Bag:
            raise NotImplementedError

    own = Own()
    assert of_function(own) is own


def test_published_encoders_have_a_source_and_take_vectors_of_something():
    for name, entry in published_encoders().items():
        assert entry.name == name and entry.url.startswith("https://") and entry.extractors and entry.extractor_dim
