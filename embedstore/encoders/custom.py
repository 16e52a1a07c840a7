"""A user's own slide encoder, made by a function: `module:function` or `file.py:function`.

The function is called without arguments and returns a `CustomSlideEncoder`, or a `SlideEncoder` of its own, which takes
tiles block by block.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.encoders.catalogue import PublishedEncoder, Wanted, published_encoders
from embedstore.encoders.encoder import Bag, SlideEncoder
from embedstore.errors import ConfigError, UnknownEncoderError, UnknownExtractorError
from embedstore.extractors.custom import call_function
from embedstore.extractors.slide_network import CustomSlideEncoder, SlideNetwork
from embedstore.store import Collection


def load_custom(ref: str, device: str) -> SlideEncoder:
    """The encoder that a user's function makes.

    Raises:
        UnknownEncoderError: there is no such function, or it returns something else.
        ConfigError: it takes arguments, or does not say which weights it has.
        DeviceError: the device does not exist.
    """
    try:
        made = call_function(ref, {}, noun="slide encoder")
    except UnknownExtractorError as error:
        raise UnknownEncoderError(str(error)) from error
    if isinstance(made, SlideEncoder):
        return made
    if not isinstance(made, CustomSlideEncoder):
        raise UnknownEncoderError(
            f"slide encoder {ref!r} returned a {type(made).__name__}; expected a CustomSlideEncoder or a SlideEncoder "
            "of embedstore.encoders"
        )
    return _BagEncoder(ref, made, device)


class _BagEncoder(SlideEncoder):
    """Collects the tiles of a slide in half precision and hands them on together."""

    def __init__(self, ref: str, custom: CustomSlideEncoder, device: str):
        file, _, function = ref.rpartition(":")
        # The same file in another folder is the same encoder: only the name of a file is kept.
        self.source = f"{Path(file).name}:{function}"
        self.name = custom.name or function.replace(".", "-")
        published = _published(custom, ref)
        self._wanted = _wanted(custom, published)
        self.needs_places = _needs_places(custom, published)
        text = f"{self.source}\n{custom.version or ''}\n{custom.precision}"
        if custom.module is not None:
            network = SlideNetwork(custom.module, custom.encode, precision=custom.precision, device=device)
            self.encode: Callable[..., NDArray[Any]] = network
            self.digest = network.digest(text)
        elif custom.version:
            self.encode = lambda *tiles: np.asarray(custom.encode(*tiles))
            self.digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        else:
            raise ConfigError(
                f"slide encoder {ref!r} does not say which weights it has; expected a torch module whose parameters "
                "tell it, or a version; give the CustomSlideEncoder one of them"
            )
        facts = {} if published is None else {**dataclasses.asdict(published), "name": published.name}
        self._details = {name: value for name, value in facts.items() if value is not None}
        self._mpp = 0.0

    def prepare(self, collection: Collection, fitted: bytes) -> tuple[str, ...]:
        self._mpp = collection.tiling().mpp
        return self._wanted.require(collection, self.name)

    def open_bag(self, tiles: int) -> Bag:
        return _WholeBag(self, tiles, self._mpp)

    def details(self) -> dict[str, Any]:
        return {"published": self._details} if self._details else {}


class _WholeBag(Bag):
    def __init__(self, encoder: _BagEncoder, tiles: int, mpp: float):
        self._encoder, self._tiles, self._mpp = encoder, tiles, mpp
        self._xy_l0 = np.empty((tiles, 2), np.int64)
        self._vectors: NDArray[np.float16] | None = None
        self._edge_l0, self._end = 0, 0

    def add(self, vectors: NDArray[np.float16], xy_l0: NDArray[np.int32], edge_l0: int) -> None:
        if self._vectors is None:
            self._vectors = np.empty((self._tiles, vectors.shape[1]), np.float16)
        part = slice(self._end, self._end + len(vectors))
        self._vectors[part], self._xy_l0[part] = vectors, xy_l0
        self._edge_l0, self._end = edge_l0, part.stop

    def finish(self) -> NDArray[np.float32]:
        assert self._vectors is not None, "a bag has tiles"
        vector = self._encoder.encode(self._vectors, self._xy_l0, self._edge_l0, self._mpp)
        return vector[0] if vector.ndim == 2 and len(vector) == 1 else vector


def _published(custom: CustomSlideEncoder, ref: str) -> PublishedEncoder | None:
    if custom.published is None:
        return None
    known = published_encoders()
    if custom.published not in known:
        raise ConfigError(
            f"slide encoder {ref!r} is said to be {custom.published!r}; expected one of {', '.join(known)}, or None"
        )
    return known[custom.published]


def _wanted(custom: CustomSlideEncoder, published: PublishedEncoder | None) -> Wanted:
    """What the user's function says, and else the catalogue."""
    of_catalogue = published or Wanted()
    return Wanted(
        extractors=of_catalogue.extractors if custom.extractor is None else (custom.extractor,),
        extractor_dim=of_catalogue.extractor_dim if custom.extractor is None else None,
        tile_px=of_catalogue.tile_px if custom.tile_px is None else custom.tile_px,
        mpp=of_catalogue.mpp if custom.mpp is None else custom.mpp,
    )


def _needs_places(custom: CustomSlideEncoder, published: PublishedEncoder | None) -> bool:
    if custom.needs_places is not None:
        return custom.needs_places
    return True if published is None or published.needs_places is None else published.needs_places
