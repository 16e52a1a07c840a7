"""What is built of the page, without a browser and without Node."""

from embedstore.service.routes.page import BUILT, read_page
from tools.page import DIGEST, sources_digest


def test_built_page_is_of_its_sources():
    assert DIGEST.read_text().strip() == sources_digest(), "viewer/ or a route changed: run `make viewer`"


def test_first_load_is_below_500_kb():
    index = (BUILT / "index.html").read_text()
    first = [file for name, file in read_page().items() if name == "index.html" or name in index]
    assert len(first) >= 3  # with script and style
    assert sum(len(file.compressed or file.content) for file in first) < 500_000
