"""What lies in a bucket is found by the rules of folders."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from embedstore.errors import AccessError, ConfigError, SlideListError, SlideNotFoundError
from embedstore.slides import find_slides
from embedstore.uris import checked_uri, is_uri
from tests.object_store import Faults
from tests.slides.drawings import tissue_picture, write_dicom, write_ome_zarr


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Slides of several formats, with what lies beside them, in a folder called `set`."""
    root = tmp_path_factory.mktemp("found") / "set"
    for name in ("a/one.svs", "a/two.ndpi", "a/notes.txt", "b/mirax.mrxs", "b/mirax/Data0000.dat", ".hidden.svs"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * len(name))
    (root / "b" / "thumb.png").write_bytes(b"png")
    (root / "dicom").mkdir()
    write_dicom(root / "dicom" / "level-0.dcm", tissue_picture(96, 64), series="1.2.3")
    write_dicom(root / "dicom" / "level-1", tissue_picture(48, 32), series="1.2.3")
    write_ome_zarr(root / "b" / "image.ome.zarr", tissue_picture(96, 64), factors=(1, 2))
    write_ome_zarr(root / "b" / "old.zarr", tissue_picture(96, 64), zarr_format=2, factors=(1,))
    (root / "slides.csv").write_text("path,patient,tissue\na/one.svs,P1,masks/one.geojson\n")
    return root


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tiles") / "tiles"
    for i, name in enumerate(("P001/normal/1.png", "P001/tumour/2.png", "P002/normal/3.png", "P002/tumour/4.tif")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / name), np.full((8, 8, 3), 20 * i, np.uint8))
    return root


@pytest.mark.parametrize("kind", ["slides", "tiles"])
def test_folder_and_prefix_hold_the_same_slides(folder, tiles, kind, put):
    root = folder if kind == "slides" else tiles
    uri = put(root.name, root)
    put(f"{root.name}/", b"")  # consoles put such an object for a folder
    here, there = find_slides([root]), find_slides([uri + "/"])

    def moved(text: str | None) -> str | None:
        return None if text is None else text.replace(str(root), uri)

    assert list(there.sources) == [
        replace(source, path=moved(source.path), tissue=moved(source.tissue)) for source in here.sources
    ]
    assert there.summary.lines() == [moved(line) for line in here.summary.lines()]
    assert len(there.sources) == (6 if kind == "slides" else 1)


def test_a_list_names_addresses_and_what_lies_beside_itself(tmp_path, folder, put):
    uri = put("set", folder)
    here = tmp_path / "list.csv"
    here.write_text(f"path,tissue\n{uri}/a/one.svs,{uri}/m.geojson\n{uri}/dicom,\n{uri}/no-such.svs,\n")
    sources = find_slides([here]).sources
    assert [(source.slide_id, source.path.removeprefix(uri)) for source in sources] == [
        ("dicom", "/dicom/level-0.dcm"), ("no-such.svs", "/no-such.svs"), ("one.svs", "/a/one.svs"),
    ]  # fmt: skip
    assert sources[2].tissue == f"{uri}/m.geojson"
    there = put("lists/list.csv", b"path,mpp\n../set/a/two.ndpi,0.5\n")
    assert [(source.slide_id, source.path, source.mpp) for source in find_slides([there]).sources] == [
        ("../set/a/two.ndpi", f"{uri}/a/two.ndpi", 0.5)
    ]
    wrong = put("lists/wrong.csv", b"file\nx.svs\n")
    with pytest.raises(SlideListError, match=f"^{wrong}: expected a column path"):
        find_slides([wrong])


def test_what_is_not_there_or_refused_is_told_at_once(put, bucket, object_store):
    one = put("one.svs", b"x")
    assert find_slides([one]).sources[0].path == one
    with pytest.raises(SlideNotFoundError, match=f"'{bucket}/none'"):
        find_slides([f"{bucket}/none"])
    with pytest.raises(AccessError, match="no bucket for s3://no-such-bucket/x"):
        find_slides(["s3://no-such-bucket/x"])
    object_store.fail(Faults(refuse=True))
    for path in (bucket, one):
        with pytest.raises(AccessError, match=r"refuses .* 403 Forbidden \(InvalidAccessKeyId\).*AWS_ACCESS_KEY_ID"):
            find_slides([path])
    with pytest.raises(AccessError, match=r"az://c cannot be opened: Account must be .*AZURE_STORAGE_ACCOUNT_NAME"):
        find_slides(["az://c/x"])
    object_store.go_away()
    try:
        with pytest.raises(AccessError, match=f"store of {bucket} does not answer: no connection.*AWS_ENDPOINT"):
            find_slides([bucket])
    finally:
        object_store.come_back()


@pytest.mark.parametrize(
    "address",
    [
        "s3://me:pass-word@bucket/x",
        "https://host/x.svs?sig=pass-word",
        "az://c/x.svs#pass-word",
        "s3://key@b?pass-word",
    ],
)
def test_addresses_with_credentials_are_refused_and_not_repeated(address):
    with pytest.raises(ConfigError, match="name, password or signature") as told:
        find_slides([address])
    assert "pass-word" not in str(told.value)


def test_addresses_have_one_way_of_writing():
    assert checked_uri("S3://bucket//a/b/") == checked_uri(Path("s3://bucket/a/b")) == "s3://bucket/a/b"
    assert [is_uri(text) for text in ("s3://b", "gs://b/x", "file:///x", "C:/x", "slides/s3", "nope://x")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="no bucket"):
        checked_uri("s3://")
