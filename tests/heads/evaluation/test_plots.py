"""Curves as pictures: nothing is cut off, whatever the classes are called, and nothing global is touched."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from heads.evaluation.metrics import evaluate
from heads.evaluation.plots import curves_png, write_curves

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
LONG = ("dense lymphocytic infiltrate", "adipose tissue", "tumour: invasive ductal carcinoma", "stroma", "pen mark")
CASES = {
    "two": (("normal", "tumour"), False),
    "two, long": (LONG[:1] + LONG[2:3], False),
    "five, long": (LONG, False),
    "multi-label": (LONG, True),
    "one, multi-label": (("necrosis",), True),
    "sixteen": (tuple(f"class of tissue number {i}" for i in range(16)), False),
    "sixteen, multi-label": (tuple(f"finding {i}" for i in range(16)), True),
}


def report_of(classes, multi_label: bool, *, absent: bool = False):
    k = len(classes)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, k - absent, 400)
    targets = rng.random((400, k)) < 0.3 if multi_label else np.eye(k, dtype=bool)[drawn]
    logits = rng.normal(size=(400, k)) + 1.5 * targets
    odds = np.exp(logits)
    probabilities = odds / (1 + odds) if multi_label else odds / odds.sum(axis=1, keepdims=True)
    decisions = probabilities > 0.5 if multi_label else np.eye(k, dtype=bool)[probabilities.argmax(axis=1)]
    return evaluate(probabilities, targets, decisions, rng.integers(0, 30, 400), classes=classes,
                    multi_label=multi_label, resamples=20)  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        figures.append(figure)
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


@pytest.mark.parametrize("case", CASES)
def test_a_sheet_is_1200_px_wide_and_cuts_nothing_off(case, drawn):
    picture = Image.open(io.BytesIO(curves_png(report_of(*CASES[case]), name="head " * 30)))
    assert picture.width == 1200
    assert 1300 <= picture.height <= 1900
    (figure,) = drawn
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert len(texts) > 40
    boxes = [text.get_window_extent(renderer) for text in texts]
    outside = [
        text.get_text() for text, box in zip(texts, boxes, strict=True)
        if box.x0 < 0 or box.y0 < 0 or box.x1 > picture.width or box.y1 > picture.height
    ]  # fmt: skip
    assert not outside
    axes = [axis.get_window_extent(renderer) for axis in figure.axes]
    legends = [axis.get_legend().get_window_extent(renderer) for axis in figure.axes if axis.get_legend()]
    assert not any(legend.overlaps(box) for legend in legends for box in axes)


def test_values_with_intervals_and_the_no_skill_line_stand_in_the_legends(drawn):
    report = report_of(("normal", "tumour"), False)
    curves_png(report, name="metastasis")
    roc, precision_recall, reliability, confusion = drawn[0].axes
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (roc, precision_recall)]
    assert legends[0] == ["no skill  0.500", f"tumour  AUROC {report.metrics['auroc']}"]
    share = report.support["tumour"] / 400
    assert legends[1] == [f"no skill  {share:.3f}", f"tumour  average precision {report.metrics['auprc']}"]
    assert reliability.get_legend().get_title().get_text() == f"calibration error {report.metrics['calibration_error']}"
    cells = [text.get_text().split("\n")[0] for text in confusion.texts]
    assert cells == [str(count) for count in report.confusion.ravel()]
    assert all(axes.get_aspect() == 1 for axes in drawn[0].axes)
    assert drawn[0].texts[0].get_text() == "metastasis"


def test_cells_of_a_multi_label_task_are_shares_of_its_truth(drawn):
    report = report_of(LONG, True)
    curves_png(report, name="findings")
    (tn, fp), (fn, tp) = report.confusion[0]
    expected = [f"{tp}\n{tp / (tp + fn):.0%}", f"{fn}\n{fn / (tp + fn):.0%}",
                f"{fp}\n{fp / (tn + fp):.0%}", f"{tn}\n{tn / (tn + fp):.0%}"]  # fmt: skip
    assert [text.get_text() for text in drawn[0].axes[3].texts[:4]] == expected


def test_a_class_without_a_row_has_no_curve(drawn):
    curves_png(report_of(("a", "b", "c"), False, absent=True), name="absent")
    entries = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert [entry[0] for entry in entries] == ["n", "a", "b"]
    curves_png(report_of(("a", "b"), False, absent=True), name="only one class")


def test_a_sheet_and_four_files(tmp_path):
    paths = write_curves(report_of(LONG, False), tmp_path / "new" / "folder", name="tissue")
    names = ["sheet.png", "roc.png", "precision-recall.png", "reliability.png", "confusion.png"]
    assert [path.name for path in paths] == names
    for path in paths[1:]:
        with Image.open(path) as picture:
            assert (picture.format, picture.width) == ("PNG", 600)
            assert np.asarray(picture.convert("L")).std() > 10


def test_evaluation_needs_no_jax_and_drawing_no_pyplot():
    code = (
        "import sys, heads.evaluation.calibration, heads.evaluation.metrics, heads.evaluation.plots\n"
        "import heads.splitting.split_file, heads.splitting.splits\n"
        "found = {name.partition('.')[0] for name in sys.modules} & {'jax', 'flax', 'matplotlib', 'sklearn', 'torch'}\n"
        "assert not found, found\n"
        "import numpy as np\n"
        "eye = np.eye(2, dtype=bool)\n"
        "report = heads.evaluation.metrics.evaluate(eye * 1.0, eye, eye, np.arange(2), classes=('a', 'b'))\n"
        "heads.evaluation.plots.curves_png(report, name='x')\n"
        "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
