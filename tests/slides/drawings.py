"""Small slides that tests draw for themselves."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pydicom
import tifffile
import zarr
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

GLASS = 243
JPEG_2000 = {"j2k-ycbcr": 33003, "j2k-rgb": 33005}
HAEMATOXYLIN, EOSIN = (95, 60, 140), (225, 140, 180)


def tissue_picture(width: int, height: int, *, seed: int = 0) -> np.ndarray:
    """(height, width, 3) RGB: a pink field with dark nuclei in its middle, glass around it."""
    return _tissue_picture(width, height, seed).copy()


@cache
def _tissue_picture(width: int, height: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), GLASS, np.uint8)
    cv2.ellipse(picture, (width // 2, height // 2), (width * 2 // 5, height * 2 // 5), 0, 0, 360, EOSIN, -1)
    for x, y in rng.uniform((0.25, 0.25), (0.75, 0.75), (width * height // 800, 2)):
        cv2.circle(picture, (int(x * width), int(y * height)), 3, HAEMATOXYLIN, -1)
    noise = rng.normal(0, 3, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def write_tiff(
    path: Path,
    picture: np.ndarray,
    *,
    colours: str = "ycbcr",
    tile_px: int = 128,
    factors: Sequence[int] = (1, 2, 4),
    mpp: float | None = 0.25,
    aperio: bool = True,
) -> Path:
    """Write a pyramidal slide in tiles.

    In JPEG (`ycbcr`, `rgb`), JPEG 2000 as Aperio's scanners write it (`j2k-ycbcr`, `j2k-rgb`), or lossless `deflate` or
    `lzw` (generic TIFF).
    """
    height, width = picture.shape[:2]
    about = f"Aperio Image Library v12.0.0\r\n{width}x{height} ({tile_px}x{tile_px}) Q=85"
    about += f"|AppMag = 40|MPP = {mpp}" if mpp is not None else "|AppMag = 40"
    how: dict = {"photometric": "rgb", "compression": colours}
    if colours == "ycbcr":
        how = {"photometric": "ycbcr", "subsampling": (2, 2), "compression": "jpeg"}
    elif colours == "rgb":
        how = {"photometric": "rgb", "compression": "jpeg"}
    elif colours in JPEG_2000:
        how["compression"] = JPEG_2000[colours]
    if colours == "rgb":  # by itself tifffile would turn RGB into YCbCr
        how["compressionargs"] = {"level": 85, "outcolorspace": "rgb"}
    elif colours == "ycbcr":
        how["compressionargs"] = {"level": 85}
    elif colours not in JPEG_2000:
        how["predictor"] = 2
    with tifffile.TiffWriter(path) as tiff:
        for factor in factors:
            level = cv2.resize(picture, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
            if colours in ("ycbcr", "j2k-ycbcr"):  # tifffile stores what it is given under this tag
                level = np.ascontiguousarray(cv2.cvtColor(level, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]])
            tiles: Iterator = _tiles(level, tile_px)
            tiff.write(
                (jpeg2000(tile, mct=colours == "j2k-rgb") for tile in tiles) if colours in JPEG_2000 else tiles,
                shape=level.shape,
                dtype=np.uint8,
                tile=(tile_px, tile_px),
                description=about if aperio else None,
                metadata=None,
                subfiletype=0 if aperio or factor == 1 else 1,
                **how,
            )
    return path


def write_philips(
    path: Path, picture: np.ndarray, *, tile_px: int = 128, factors: Sequence[int] = (1, 2, 4), mpp: float = 0.25
) -> Path:
    """Write a TIFF as Philips' scanners do: levels of whole tiles, their real size in XML, and not all tiles there."""

    def attribute(name: str, kind: str, value: str) -> str:
        return f'<Attribute Name="{name}" Group="0x0028" Element="0x0030" PMSVR="{kind}">{value}</Attribute>'

    def spacing(factor: int) -> str:
        edge = f"&quot;{mpp * factor / 1000}&quot;"
        return attribute("DICOM_PIXEL_SPACING", "IDoubleArray", f"{edge} {edge}")

    levels = "".join(
        f'<DataObject ObjectType="PixelDataRepresentation">{spacing(each)}</DataObject>' for each in factors
    )
    image = attribute("PIM_DP_IMAGE_TYPE", "IString", "WSI") + spacing(1)
    image += attribute("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "IDataObjectArray", f"<Array>{levels}</Array>")
    scanned = f'<Array><DataObject ObjectType="DPScannedImage">{image}</DataObject></Array>'
    about = attribute("PIM_DP_SCANNED_IMAGES", "IDataObjectArray", scanned)
    whole = [-(-edge // tile_px) * tile_px for edge in picture.shape[:2]]
    canvas = np.full((*whole, 3), GLASS, np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for factor in factors:
            size = whole[1] // factor, whole[0] // factor
            level = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
            level = np.ascontiguousarray(cv2.cvtColor(level, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]])
            tiles = list(_tiles(level, tile_px))
            rows, columns = (-(-edge // tile_px) for edge in level.shape[:2])
            tiff.write(
                iter([tiles[0], None, *tiles[2:]]),
                shape=(rows * tile_px, columns * tile_px, 3),
                dtype=np.uint8,
                tile=(tile_px, tile_px),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                compressionargs={"level": 85},
                software="Philips DP v1.0" if factor == 1 else False,
                description=f'<?xml version="1.0"?><DataObject ObjectType="DPUfsImport">{about}</DataObject>'
                if factor == 1
                else "",
                metadata=None,
                subfiletype=0 if factor == 1 else 1,
            )
    return path


def jpeg2000(tile: np.ndarray, *, mct: bool = True) -> bytes:
    """A lossy code stream of a tile; `mct` transforms RGB within it."""
    return imagecodecs.jpeg2k_encode(tile, level=40, codecformat="j2k", reversible=False, mct=mct)


def _tiles(level: np.ndarray, tile_px: int):
    for y in range(0, level.shape[0], tile_px):
        for x in range(0, level.shape[1], tile_px):
            part = level[y : y + tile_px, x : x + tile_px]
            pad = ((0, tile_px - part.shape[0]), (0, tile_px - part.shape[1]), (0, 0))
            yield np.ascontiguousarray(np.pad(part, pad, mode="edge"))


def write_scn(path: Path, picture: np.ndarray, *, size: tuple[int, int], corner: tuple[int, int]) -> Path:
    """Write a slide of Leica (SCN, 0.5 µm/px) whose level 0 has a size, with the picture's corner at a place on it."""
    height, width = picture.shape[:2]

    def image(name: str, about: tuple[str, str], sizes: Sequence[tuple[int, int]], first: int, place: tuple[int, ...]):
        levels = "".join(
            f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" ifd="{first + r}"/>' for r, (w, h) in enumerate(sizes)
        )
        x, y, w, h = (500 * edge for edge in place)  # nanometres
        return (
            f'<image name="{name}"><device model="Leica SCN400" version="1"/>'
            f'<pixels sizeX="{sizes[0][0]}" sizeY="{sizes[0][1]}">{levels}</pixels>'
            f'<view sizeX="{w}" sizeY="{h}" offsetX="{x}" offsetY="{y}" spacingZ="0"/><scanSettings>'
            f"<objectiveSettings><objective>{about[0]}</objective></objectiveSettings><illuminationSettings>"
            f"<numericalAperture>{about[1]}</numericalAperture><illuminationSource>brightfield</illuminationSource>"
            "</illuminationSettings></scanSettings></image>"
        )

    small = cv2.resize(picture, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    sizes = [(width, height), (width // 4, height // 4)]
    xml = (
        '<?xml version="1.0" encoding="utf-8"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{500 * size[0]}" sizeY="{500 * size[1]}">'
        + image("macro", ("0.6", "0.1"), [(128, 128)], 0, (0, 0, *size))
        + image("main", ("20", "0.4"), sizes, 1, (*corner, width, height))
        + "</collection></scn>"
    )
    how: dict = {"tile": (128, 128), "compression": "jpeg", "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(np.full((128, 128, 3), GLASS, np.uint8), description=xml, **how)
        for level, per_cm in ((picture, 20_000), (small, 5_000)):
            tiff.write(level, resolution=(per_cm, per_cm), resolutionunit="CENTIMETER", **how)
    return path


def write_ome_zarr(
    path: Path,
    picture: np.ndarray,
    *,
    zarr_format: int = 3,
    axes: str = "cyx",
    chunk_px: int = 128,
    shard_px: int | None = None,
    factors: Sequence[int] = (1, 2, 4),
    mpp: float | None = 0.25,
    colours: Sequence[str] = (),
) -> Path:
    """Write an OME-Zarr image: NGFF 0.5 in Zarr 3, or 0.4 in Zarr 2.

    Args:
        path: The folder.
        picture: (height, width, channels).
        zarr_format: 2 or 3.
        axes: Of the arrays; t and z have the length 1.
        chunk_px: Edge of a chunk.
        shard_px: Edge of a shard, in Zarr 3.
        factors: Downsample of each level.
        mpp: Micrometres per pixel; None for axes without a unit.
        colours: In which channels are said to be shown.
    """
    height, width = picture.shape[:2]
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    datasets = []
    for at, factor in enumerate(factors):
        level = cv2.resize(picture, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
        level = level.reshape(height // factor, width // factor, -1)
        order = ["yxc".index(axis) for axis in axes if axis in "cyx"]
        pixels = level.transpose(order)[tuple(slice(None) if axis in "cyx" else None for axis in axes)]
        edges = {"y": chunk_px, "x": chunk_px, "c": picture.shape[2]}
        shards = None if shard_px is None else tuple(shard_px if axis in "yx" else edges.get(axis, 1) for axis in axes)
        made = group.create_array(
            f"s{at}",
            shape=pixels.shape,
            dtype=pixels.dtype,
            chunks=tuple(edges.get(axis, 1) for axis in axes),
            shards=shards,
            chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
        )
        made[:] = pixels
        scale = [factor * (mpp or 1.0) if axis in "yx" else 1.0 for axis in axes]
        datasets.append({"path": f"s{at}", "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    unit = {} if mpp is None else {"unit": "micrometer"}
    kinds = {"c": {"type": "channel"}, "t": {"type": "time"}}
    stated = [{"name": axis, **kinds.get(axis, {"type": "space"} | unit)} for axis in axes]
    attributes: dict = {"multiscales": [{"axes": stated, "datasets": datasets}]}
    if colours:
        attributes["omero"] = {"channels": [{"color": colour} for colour in colours]}
    group.attrs.update({"ome": {"version": "0.5", **attributes}} if zarr_format == 3 else attributes)
    return path


def drop_tile(path: Path, *, page: int, index: int) -> None:
    """Make a tile of a TIFF missing: no bytes."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages[page].tags
        for name in ("TileOffsets", "TileByteCounts"):
            values = list(tags[name].value)
            values[index] = 0
            tags[name].overwrite(values)


def damage_tile(path: Path, *, page: int, index: int) -> None:
    """Overwrite the bytes of a tile of a TIFF with noise that is no JPEG."""
    with tifffile.TiffFile(path) as tiff:
        tile = tiff.pages[page]
        offset, count = tile.dataoffsets[index], tile.databytecounts[index]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff\xc0\x00\x01" * (count // 4))


def write_dicom(
    path: Path,
    picture: np.ndarray,
    *,
    tile_px: int = 64,
    tag: str = "YBR_FULL_422",
    encoded: str = "ycbcr",
    table: str = "basic",
    sparse: bool = False,
    series: str = "1.2.826.0.1.3680043.8.498.1",
    mpp: float | None = 0.5,
    flavour: str = "VOLUME",
) -> Path:
    """Write one level of a DICOM whole-slide series.

    Args:
        path: The file.
        picture: (height, width, 3) RGB.
        tile_px: Edge of a frame.
        tag: Photometric interpretation that the file claims.
        encoded: How frames really are: `ycbcr` (with a JFIF marker), `rgb` (bare), or `raw` (not compressed).
        table: How frames are found: `basic`, `extended` or `none`.
        sparse: TILED_SPARSE, with the first frame left out and the others in reverse.
        series: SeriesInstanceUID.
        mpp: Pixel spacing, µm.
        flavour: Third value of the image type.
    """
    height, width = picture.shape[:2]
    parts = list(_tiles(picture, tile_px))
    columns = -(-width // tile_px)
    places = [(1 + tile_px * (i % columns), 1 + tile_px * (i // columns)) for i in range(len(parts))]
    if sparse:
        parts, places = parts[:0:-1], places[:0:-1]
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian if encoded == "raw" else JPEGBaseline8Bit)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.77.1.6")
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[path.name])
    data.SeriesInstanceUID = UID(series)
    data.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    data.PhotometricInterpretation, data.SamplesPerPixel, data.PlanarConfiguration = tag, 3, 0
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.Rows = data.Columns = tile_px
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = width, height
    data.NumberOfFrames = len(parts)
    data.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    if mpp is not None:
        measures, shared = pydicom.Dataset(), pydicom.Dataset()
        measures.PixelSpacing = [mpp / 1000, mpp / 1000]
        shared.PixelMeasuresSequence = [measures]
        data.SharedFunctionalGroupsSequence = [shared]
    if sparse:
        data.PerFrameFunctionalGroupsSequence = [_group(x, y) for x, y in places]
    _add_frames(data, parts, encoded, table)
    data.save_as(path, enforce_file_format=True)
    return path


def _group(x: int, y: int) -> pydicom.Dataset:
    position, group = pydicom.Dataset(), pydicom.Dataset()
    position.ColumnPositionInTotalImagePixelMatrix, position.RowPositionInTotalImagePixelMatrix = x, y
    group.PlanePositionSlideSequence = [position]
    return group


def _add_frames(data: pydicom.Dataset, parts: list[np.ndarray], encoded: str, table: str) -> None:
    if encoded == "raw":
        data.PixelData = b"".join(part.tobytes() for part in parts)
        data["PixelData"].VR = "OB"
        return
    frames = [
        cv2.imencode(".jpg", part[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
        if encoded == "ycbcr"
        else _without_markers(imagecodecs.jpeg8_encode(part, level=92, colorspace="RGB", outcolorspace="RGB"))
        for part in parts
    ]
    if table == "extended":
        data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    else:
        data.PixelData = encapsulate(frames, has_bot=table == "basic")
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True


def _without_markers(stream: bytes) -> bytes:
    """A JPEG stream without JFIF's and Adobe's markers, as some scanners write them."""
    at, kept = 2, stream[:2]
    while stream[at + 1] in (0xE0, 0xEE):
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return kept + stream[at:]
