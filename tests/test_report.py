"""The page: whole, the same each time, safe whatever the names, and true to its numbers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
import wording
from conftest import ROOT, Run, make_images
from hypothesis import given
from hypothesis import strategies as st

import catclf
from catclf.datasets import Dataset
from catclf.errors import DataError
from catclf.evaluation import compare, evaluate
from catclf.evaluation.compare import Candidate, Comparison, Plan
from catclf.evaluation.evaluate import Evaluation
from catclf.features.hog import HogFeatures
from catclf.images.preprocess import Preprocess
from catclf.maths.metrics import roc
from catclf.model import Model
from catclf.report import charts, page
from catclf.report.charts import Axis, Chart, move_apart, round_up
from catclf.report.document import MEANING

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "link", "img", "br", "path", "polyline", "polygon", "circle"}


class Page(HTMLParser):
    """Tags that are opened and not closed, all tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words += data + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


NASTY = '<script>alert("x")</script>&amp;\n\x1b[31m'


def data_set(m: int = 24, names: tuple[str, ...] | None = None) -> Dataset:
    images, labels = make_images(m)
    labels[:4] ^= 1  # so that some predictions are wrong
    Y = labels.astype(float).reshape(1, -1)
    return Dataset(images, Y, ("non-cat", "cat"), "made.h5", Preprocess(8), names)


class Made(NamedTuple):
    """A model, its evaluation, the data, and the arguments of a page about all of them."""

    model: Model
    found: Evaluation
    data: Dataset
    compared: Comparison

    def page(self, **changed: Any) -> str:
        evaluated, compared = (self.found, self.data), (self.compared, "accuracy")
        whole = {"evaluated": evaluated, "compared": compared} | changed
        return page(whole.pop("model", self.model), whole.pop("name", "model.npz"), **whole)


@pytest.fixture(scope="module")
def made() -> Made:
    data = data_set()
    model = catclf.train(data, catclf.Settings(0.01, 300), test=data)
    plan = Plan((Candidate(0.01), Candidate(0.001, 2.0), Candidate(1e6)), 30, folds=3)
    found = Evaluation.of(model, data)
    return Made(model, found, data, compare.cross_validate(data_set(), plan))


def test_the_page_is_whole_and_loads_nothing(made: Made) -> None:
    text = made.page()
    read = Page(text)
    assert read.open == []
    names = {name for name, _ in read.tags}
    assert not names & {"script", "iframe", "object", "embed", "video", "audio", "form"}
    assert all((img["src"] or "").startswith("data:image/png;base64,") for img in read.all("img"))
    assert [link["href"] for link in read.all("link")] == ["data:,"]
    assert re.findall(r"https?://[^\s\"'<]+", text) == ["http://www.w3.org/2000/svg"] * 4
    assert not re.search(r"url\(|@import", text)
    again = Evaluation.of(made.model, data_set())
    assert made.page(evaluated=(again, data_set())) == text


def test_every_figure_has_a_text_in_its_place(made: Made) -> None:
    read = Page(made.page(gallery=2))
    svgs = read.all("svg")
    assert len(svgs) == 4  # cost, ROC, calibration, comparison
    ids = {attrs["id"] for _, attrs in read.tags if "id" in attrs}
    assert len(ids) == 8
    for svg in svgs:
        assert svg["role"] == "img"
        assert set((svg["aria-labelledby"] or "").split()) <= ids
    images, wrong = read.all("img"), min(2, made.found.counts.fp + made.found.counts.fn)
    assert wrong > 0
    assert len(images) == 3 + 2 * (wrong + 2)  # weights, and images beside their evidence
    assert all(img["alt"] for img in images)


def test_the_page_has_the_numbers_and_the_words_of_the_evaluation(made: Made) -> None:
    words = " ".join(Page(made.page()).words.split())
    for measure in evaluate.measures(made.found):
        assert measure.show(measure.value).replace(" ", "\xa0") in words.replace(" %", "\xa0%")
        assert MEANING[measure.key] in words
    counts = made.found.counts
    assert f"{counts.correct} of {counts.total} images predicted correctly" in words
    assert f"{made.model.costs[-1]:.4f}" in words
    for each in made.found.predictions(False, 6):
        assert each.display_name in words
    classes = [f"{kind} {name}" for kind in ("actual", "predicted") for name in ("cat", "non-cat")]
    for phrase in (*classes, wording.BASELINE, "majority baseline"):
        assert phrase in words
    assert "--" not in words  # the page knows no option
    path = ROOT / "catclf" / "docs" / "measures.md"
    if path.exists():
        text = " ".join(path.read_text().split())
        assert [meaning for meaning in MEANING.values() if meaning not in text] == []


def test_names_cannot_become_markup(made: Made) -> None:
    names = tuple(f"{NASTY}{i}" for i in range(24))
    data = replace(data_set(names=names), source=NASTY)
    training = replace(made.model.training, source=NASTY, settings={NASTY: NASTY}, catclf=NASTY)
    model = replace(made.model, classes=("non" + NASTY, NASTY), training=training)
    found = Evaluation.of(model, data)
    text = page(model, NASTY, (found, data))
    read = Page(text)
    assert (read.open, read.all("script"), "\x1b" in text) == ([], [], False)
    shown = found.predictions(False, 1)[0].display_name
    assert shown.startswith('<script>alert("x")</script>&amp;\\n\\x1b[31m')
    assert shown in read.words


def test_selected_settings_are_rows_and_no_dict(made: Made) -> None:
    counts = {"tp": 9, "fp": 3, "tn": 9, "fn": 3}
    chosen = {"names": ["l2", "threshold"], "folds": 5, "log_loss": 0.25, "counts": counts}
    settings = {**made.model.training.settings, "chosen": chosen}
    model = replace(made.model, training=replace(made.model.training, settings=settings))
    rows = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page(model, "model.npz")))
    assert rows[wording.SELECTED] == "l2, threshold"
    assert rows["cross-validation folds"] == "5"
    assert rows["cross-validation accuracy"] == "75.00 %, 18 of 24"
    assert rows["learning_rate"] == "0.01"
    assert "{" not in "".join(rows.values())


def test_features_without_an_image_have_no_section() -> None:
    features = HogFeatures(16)
    model = Model(np.zeros((features.n, 1)), 0.0, Preprocess(16), features=features)
    assert re.findall("<h2>(.*?)</h2>", page(model, "hog.npz")) == ["Training"]


def test_labels_that_an_unseen_image_contradicts_are_suspects(made: Made) -> None:
    labels = np.arange(24) % 2
    Z = np.where(labels[None] > 0, 3.0, -3.0)
    result = replace(made.found, seen=0, Z=Z, Y=labels[None].astype(np.float64))
    assert "Suspect labels" not in made.page(evaluated=(result, made.data))
    result.Y[0, [5, 8]] = [0.0, 1.0]
    text = made.page(evaluated=(replace(result, Y=result.Y), made.data))
    section = text.partition("<h2>Suspect labels</h2>")[2].partition("</section>")[0]
    found = re.findall(r"<b>image (\d+)</b><br>labelled ([\w-]+)", section)
    assert found == [("5", "non-cat"), ("8", "cat")]
    seen = replace(result, seen=24)
    assert "Suspect labels" not in made.page(evaluated=(seen, made.data))


def test_what_is_not_known_has_no_place(made: Made) -> None:
    read = Page(page(made.model, "model.npz"))
    assert (read.open, len(read.all("svg"))) == ([], 1)
    assert "train accuracy" in read.words
    assert "Confusion matrix" not in read.words
    bare = Page(page(Model(np.zeros((192, 1)), 0.0, Preprocess(8)), "bare.npz"))
    assert (bare.open, bare.all("svg")) == ([], [])
    ones = replace(made.data, Y=np.ones((1, made.data.m)))
    read = Page(page(made.model, "model.npz", (Evaluation.of(made.model, ones), ones)))
    assert "ROC curve" not in read.words
    assert "every image is cat" in read.words


def elements(chart: Chart, tag: str, css: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(chart.text())
    return [e for e in root.iter(SVG + tag) if css in (e.get("class") or "").split()]


def points(line: ElementTree.Element) -> list[list[float]]:
    return [[float(v) for v in pair.split(",")] for pair in (line.get("points") or "").split()]


def test_the_cost_curve_passes_through_its_costs() -> None:
    chart = charts.cost_curve((0.7, 0.35, 0.0), (0, 50, 100))
    (line,) = elements(chart, "polyline", "line")
    left, right, base = chart.left, chart.width - chart.right, chart.height - chart.bottom
    height = base - chart.top
    middle = [(left + right) / 2, base - 0.35 / 0.8 * height]
    expected = [[left, base - 0.7 / 0.8 * height], middle, [right, base]]
    assert points(line) == pytest.approx(np.array(expected), abs=0.01)


def test_a_single_cost_is_a_dot_and_a_long_curve_is_thinned() -> None:
    chart = charts.cost_curve((0.6931,), (0,))
    assert elements(chart, "polyline", "line") == []
    assert len(elements(chart, "circle", "dot")) == 1
    many = [(float(i), float(i)) for i in range(5000)]
    thin = charts.thinned(many)
    assert (len(thin), thin[0], thin[-1]) == (charts.POINTS_MAX, many[0], many[-1])


def test_roc_points_keep_the_corners_and_the_area() -> None:
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 2, (1, 500)).astype(float)
    curve = roc(rng.standard_normal((1, 500)).round(1) + Y, Y)
    kept = charts.roc_points(curve)
    assert 2 < len(kept) < len(curve.false)
    x, y = np.array(kept).T / 100
    assert np.trapezoid(y, x) == pytest.approx(curve.auc, rel=1e-12)


def test_axes_name_units_and_have_round_values() -> None:
    text = charts.cost_curve((0.69, 0.2), (0, 2000)).text()
    assert "steps of gradient descent" in text
    assert "cost J (nats per image)" in text
    assert Axis(0, 0.8, "x").ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert Axis(0, 2000, "x", ticks_max=5).ticks() == [0, 500, 1000, 1500, 2000]
    for low, high in ((0, 1), (0, 7), (0, 1e-9), (3, 12), (-5, 5)):
        ticks = Axis(low, high, "x").ticks()
        assert 2 <= len(ticks) <= 7
        assert low <= ticks[0] < ticks[-1] <= high * (1 + 1e-9)
    for value, end in {0.7277: 0.8, 1.0: 1.0, 0.0: 1.0, 1.1: 1.5, 693: 800}.items():
        assert round_up(value) == pytest.approx(end)


@given(st.lists(st.floats(0, 200), max_size=8))
def test_labels_are_moved_apart_as_little_as_it_takes(places: list[float]) -> None:
    moved = move_apart(places, 14)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= 14 - 1e-9).all()
    assert sum(moved) == pytest.approx(sum(places))
    assert move_apart([10, 50, 90], 14) == [10, 50, 90]
    assert move_apart([100, 50, 50], 14) == [100, 43, 57]


def test_the_comparison_chart_labels_those_that_did_not_diverge(made: Made) -> None:
    chart = charts.comparison_chart(made.compared)
    labels = ["".join(e.itertext()) for e in elements(chart, "text", "note")]
    assert labels == ["α 0.01", "α 0.001, λ 2"]
    assert len(elements(chart, "polyline", "line")) == 2


def test_a_comparison_comes_back_from_json(made: Made) -> None:
    facts = compare.to_dict(made.compared, "roc_auc")
    back, measure = compare.from_json(json.dumps(facts, allow_nan=False).encode())
    assert measure == "roc_auc"
    assert compare.to_dict(back, measure) == facts


OTHERS: dict[str, list[object]] = {
    "format": ["other"],
    "by": ["luck"],
    "classes": [["one"]],
    "folds": [4],
    "images": [None, -1],
    "positives": [10**6],
    "candidates": [[], [{}], 7],
    "steps": [[], [0], [10**400] * 31],
    "iterations": [1e400, 10],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OTHERS.items() for value in values]
)
def test_other_json_is_no_comparison(made: Made, name: str, value: object) -> None:
    facts = compare.to_dict(made.compared, "accuracy") | {name: value}
    for content in (json.dumps(facts).encode(), b"", b"[]", b"null", b"\xff\xfe", b"[" * 100000):
        with pytest.raises(DataError, match="is not the JSON that catclf compare prints"):
            compare.from_json(content)


def test_the_command_writes_the_same_page_twice(run: Run, small_hdf5: Path, tmp_path: Path) -> None:
    run("train", "--data", "small.h5", "--iterations", "50", "-q")
    compared = run("compare", "small.h5", "--iterations", "20", "--format", "json")
    (tmp_path / "compare.json").write_text(compared.stdout)
    args = ("report", "--data", "small.h5", "--compare", "compare.json")
    first = run(*args)
    assert (first.code, first.stderr) == (0, "")
    assert re.fullmatch(r"report\.html: \d+ kB\n", first.stdout)
    assert run(*args, "-o", "again.html", "-q").stdout == ""
    page = (tmp_path / "report.html").read_bytes()
    assert (tmp_path / "again.html").read_bytes() == page
    read = Page(page.decode())
    assert "Comparison of settings" in read.words
    assert str(tmp_path) not in page.decode()


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ("-m none.npz", f"none.npz: {wording.NO_FILE}"),
        ("--data none.h5", f"none.h5: {wording.NO_SOURCE}"),
        ("--compare none.json", f"none.json: {wording.NO_FILE}"),
        ("--compare small.h5", "small.h5: is not the JSON that catclf compare prints"),
        ("-o no/report.html", wording.NO_FOLDER),
        *(
            (option, f"{option.split()[0]}: of no use without labelled images: give --data")
            for option in ("--split test", "--positive cat", "--threshold 0.4", "--skip-bad")
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_page(
    run: Run, small_hdf5: Path, tmp_path: Path, args: str, why: str
) -> None:
    catclf.save(Model(np.zeros((192, 1)), 0.0, Preprocess(8)), tmp_path / "model.npz")
    run("report", *args.split()).refused(why)
    assert not (tmp_path / "report.html").exists()


def test_train_plots_its_cost(run: Run, small_hdf5: Path, tmp_path: Path) -> None:
    assert run("train", "small.h5", "--iterations", "50", "-q", "--plot", "cost.svg").code == 0
    root = ElementTree.parse(tmp_path / "cost.svg").getroot()
    assert (root.tag, root.get("width")) == (SVG + "svg", "720")
    text = "".join(root.itertext())
    costs = catclf.load(tmp_path / "model.npz").costs
    assert f"The cost goes from 0.6931 at step 0 to {costs[-1]:.4f} at step 50." in text
    assert "prefers-color-scheme:dark" in text
