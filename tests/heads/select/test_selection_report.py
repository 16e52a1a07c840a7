"""Reports on extractors: there and back through JSON, drawn, and written as a page that nothing can break out of."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from heads.evaluation.report import Metric
from heads.select import CandidateReport, RankAgreement, RankCheck, SelectionReport
from heads.select.build_report import verdict
from heads.select.selection_page import report_page
from heads.select.selection_picture import report_png

EVIL = '<script>alert("x")</script>'


def candidate(name: str, rank: int, score: float, *, behind: Metric | None, speed: float = 100.0, **others):
    metric = Metric(value=score, low=score - 0.05, high=score + 0.05)
    return CandidateReport(
        name=name, ref=name, digest="sha256:1", dim=8, tile_px=224, mpp=0.5, device="cpu", rank=rank,
        scores={"linear": metric, "knn": Metric(value=score), "linear_auroc": metric}, behind=behind, first_share=0.5,
        tiles_per_s=speed, gigabytes=0.1,
        **({"hours": 300 / speed, "robustness": {"stain": metric, "stain_found": metric}} | others),
    )  # fmt: skip


def report(*candidates: CandidateReport, **others) -> SelectionReport:
    asked = {
        "task": f"tumour {EVIL}", "collection": "c", "classes": ("a", "b"), "tiles": 100, "patients": 9,
        "rank_by": "linear", "decisive": False, "verdict": verdict(candidates, "linear"), "candidates": candidates,
        "collection_tiles": 1000, "notes": (f"note {EVIL}",), "config": {"tiles": 100},
        "rank_checks": (RankCheck(task="other", agreement=RankAgreement(tau=0.5, p=0.33),
                                  scores={"one": Metric(value=0.7)}, tiles=9, patients=3),),
    }  # fmt: skip
    return SelectionReport(**(asked | others))


NOISE, LEAD = Metric(value=0.01, low=-0.02, high=0.04), Metric(value=0.1, low=0.05, high=0.15)
FULL = report(
    candidate("one", 1, 0.8, behind=None),
    candidate(f"two {EVIL}", 2, 0.79, behind=NOISE, speed=500.0),
    candidate("three", 3, 0.7, behind=LEAD, speed=900.0, robustness={}),
    CandidateReport(name="lost", ref="lost", error=f"WeightsError: no file {EVIL}"),
)


class Page(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.images: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.images += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data):
        self.said += data


def test_a_report_comes_back_from_json():
    assert SelectionReport.from_record(json.loads(json.dumps(FULL.as_record()))) == FULL
    assert [one.name for one in FULL.failed] == ["lost"] and len(FULL.tried) == 3


@pytest.mark.slow
def test_the_page_says_everything_and_lets_nothing_out():
    page = Page(report_page(FULL))
    assert "default-src 'none'" in report_page(FULL)
    assert "script" not in page.tags and page.tags.count("tr") == 5 + 4 and page.tags.count("table") == 2
    assert all(image.startswith("data:image/png;base64,") for image in page.images) and len(page.images) == 1
    for text in (EVIL, FULL.verdict, "WeightsError", "0.100", "3.0 h", "100 MB", "Kendall", "500", "0.750 to 0.850"):
        assert text in page.said


@pytest.mark.slow
def test_pictures_are_drawn_of_one_candidate_and_of_many(tmp_path):
    for name, drawn in (("full", FULL), ("one", report(candidate("one", 1, 0.8, behind=None, robustness={})))):
        path = tmp_path / f"{name}.png"
        path.write_bytes(report_png(drawn))
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.shape[1] == 1540 and (pixels < 128).mean() > 0.005


def test_dollars_in_names_are_no_mathematics():
    odd = r"a$\frac{$"
    drawn = report_png(report(candidate(odd, 1, 0.8, behind=None), task=odd))
    assert drawn.startswith(b"\x89PNG")


def test_the_verdict_tells_noise_from_a_lead_and_names_what_is_cheaper():
    said = FULL.verdict
    assert "one leads by linear: 0.800" in said and "NO MORE THAN NOISE" in said
    assert "cannot be told apart from it and is 5.0 times as fast" in said and "three" not in said
    ahead = verdict((candidate("one", 1, 0.8, behind=None), candidate("two", 2, 0.7, behind=LEAD)), "linear")
    assert "more than noise" in ahead and "NO MORE" not in ahead
    unknown = verdict(
        (candidate("one", 1, 0.8, behind=None), candidate("two", 2, 0.7, behind=Metric(value=0.1))), "linear"
    )
    assert "without an interval" in unknown and "NOISE" not in unknown
    large_tiles = candidate("two", 2, 0.79, behind=NOISE, speed=50.0, hours=1.0)  # slower a tile, of fewer tiles
    assert "two cannot be told" in verdict((candidate("one", 1, 0.8, behind=None), large_tiles), "linear")
    noisy = candidate("three", 3, 0.5, behind=Metric(value=0.3, low=0.0, high=0.6), speed=9000.0)
    behind = candidate("two", 2, 0.7, behind=LEAD)
    assert "three" not in verdict((candidate("one", 1, 0.8, behind=None), behind, noisy), "linear")
    assert "only candidate" in verdict((candidate("one", 1, 0.8, behind=None),), "linear")
