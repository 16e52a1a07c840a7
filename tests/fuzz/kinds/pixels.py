"""Slides, image files and files of weights."""

import io
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.extractors.networks.weights import fit_weights
from embedstore.extractors.networks.weights_file import read_weights
from embedstore.service.pictures import Pictures, SlideFile
from embedstore.service.pictures.uploads import MOST_UPLOAD_PX
from embedstore.slides import SlideSource, TileReader, find_slides, plan_slide, read_image
from embedstore.slides.image_file import decode_image
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import as_json, changed_bytes, changed_numbers, changed_tree
from tests.slides.drawings import tissue_picture, write_dicom, write_ome_zarr, write_tiff

PICTURE = tissue_picture(160, 128)
TILING = TilingConfig(tile_px=32, mpp=0.5)


@cache
def _slides() -> list[bytes]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        paths = [
            write_tiff(folder / f"{colours}.tif", PICTURE, colours=colours, aperio=aperio, tile_px=64, factors=(1, 2))
            for colours, aperio in (("ycbcr", True), ("deflate", False), ("lzw", False))
        ]
        paths += [
            write_dicom(folder / f"{encoded}.dcm", PICTURE, encoded=encoded, tag=tag, table=table)
            for encoded, tag, table in (("ycbcr", "YBR_FULL_422", "basic"), ("raw", "RGB", "none"))
        ]
        return [path.read_bytes() for path in paths]


@cache
def _images() -> list[bytes]:
    image, made = Image.fromarray(PICTURE[:48, :48]), []
    kinds = [("PNG", {}), ("JPEG", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "raw"})]
    for form, how in [*kinds, ("WEBP", {}), ("GIF", {}), ("BMP", {})]:
        image.save(file := io.BytesIO(), form, **how)
        made.append(file.getvalue())
    return made


@cache
def _weights() -> list[bytes]:
    state = {f"model.{name}": tensor for name, tensor in torch.nn.Linear(2, 3).state_dict().items()}
    made = [save(state)]
    for new in (True, False):
        torch.save({"state_dict": state, "epoch": 3}, file := io.BytesIO(), _use_new_zipfile_serialization=new)
        made.append(file.getvalue())
    return made


def _read_slide(folder: Path) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        path = folder / ("slide.dcm" if data[128:132] == b"DICM" else "slide.tif")
        path.write_bytes(data)
        try:
            find_slides([folder])
            source = SlideSource(slide_id="slide", path=str(path), kind="wsi", mpp=0.5)
            plan = plan_slide(source, tiling=TILING, tissue=TissueConfig(method="all"), reading=ReadingConfig())
            with TileReader(plan, TILING) as reader:
                return reader.read(0, min(len(plan), 20))
        finally:
            path.unlink()

    return read


#: The files of an OME-Zarr image that are changed one at a time, by the byte before the content of a file.
ZARR_FILES = {
    3: (b"0zarr.json", b"1s0/zarr.json", b"2s0/c/0/0/0"),
    2: (b"3.zattrs", b"4s0/.zarray", b"5s0/0/0/0"),
}


@cache
def _zarr_files() -> dict[bytes, bytes]:
    with TemporaryDirectory() as name:
        made = {}
        for zarr_format, files in ZARR_FILES.items():
            image = write_ome_zarr(Path(name, str(zarr_format)), PICTURE, zarr_format=zarr_format, chunk_px=64)
            made |= {file: (image / file[1:].decode()).read_bytes() for file in files}
        return made


def _changed_zarr() -> st.SearchStrategy[bytes]:
    def changed(file: bytes) -> st.SearchStrategy[bytes]:
        data = _zarr_files()[file]
        ways = changed_bytes(st.just(data)) | changed_numbers(st.just(data))
        if data[:1] == b"{":
            ways = ways | as_json(changed_tree(st.just(json.loads(data))))
        return ways.map(lambda new: file[:1] + new)

    return st.deferred(lambda: st.sampled_from(sorted(_zarr_files())).flatmap(changed))


def _read_zarr(folder: Path) -> Callable[[bytes], object]:
    made = {f: write_ome_zarr(folder / f"{f}.zarr", PICTURE, zarr_format=f, chunk_px=64) for f in ZARR_FILES}
    names = {file[:1]: (made[f], file[1:].decode()) for f, files in ZARR_FILES.items() for file in files}

    def read(data: bytes) -> object:
        whole, name = names[data[:1]]
        image = folder / "set" / "slide.zarr"
        shutil.copytree(whole, image)
        (image / name).write_bytes(data[1:])
        try:
            for source in find_slides([folder / "set"], mpp=0.5).sources:
                plan = plan_slide(source, tiling=TILING, tissue=TissueConfig(method="all"), reading=ReadingConfig())
                with TileReader(plan, TILING) as reader:
                    reader.read(0, min(len(plan), 20))
        finally:
            shutil.rmtree(image)

    return read


def _read_image(folder: Path) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        (folder / "image").write_bytes(data)
        return read_image(folder / "image")

    return read


def _decode_sent(folder: Path) -> Callable[[bytes], object]:
    return lambda data: decode_image(data, most_px=MOST_UPLOAD_PX)


def _show_slide(folder: Path) -> Callable[[bytes], object]:
    def show(data: bytes) -> object:
        path = folder / ("slide.dcm" if data[128:132] == b"DICM" else "slide.tif")
        path.write_bytes(data)
        pictures = Pictures(cache_bytes=0)
        file = SlideFile(name="slide", path=str(path))
        try:
            info = pictures.info(file)
            pictures.deep_zoom_tile(file, 0, 0, 0).make()
            return pictures.deep_zoom_tile(file, info.max_level, 0, 0).make(), pictures.thumbnail(file, 64).make()
        finally:
            pictures.close()
            path.unlink()

    return show


def _read_weights(folder: Path) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        (folder / "weights").write_bytes(data)
        state = read_weights(folder / "weights")
        return fit_weights(torch.nn.Linear(2, 3), state, weights_format="exact", source="weights")

    return read


def _changed(seeds: Callable[[], list[bytes]]) -> st.SearchStrategy[bytes]:
    made = st.deferred(lambda: st.sampled_from(seeds()))
    return changed_numbers(made) | changed_bytes(made)


KINDS = [
    Kind(name="slides", inputs=_changed(_slides), reader=_read_slide, sample=40),
    Kind(name="zarr slides", inputs=_changed_zarr(), reader=_read_zarr, sample=60),
    Kind(name="images", inputs=_changed(_images), reader=_read_image),
    Kind(name="sent images", inputs=_changed(_images), reader=_decode_sent),
    Kind(name="shown slides", inputs=_changed(_slides), reader=_show_slide, sample=30),
    Kind(name="weights", inputs=_changed(_weights), reader=_read_weights),
]
