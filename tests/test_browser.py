"""The report in a real browser: nothing loaded, nothing logged, everything visible and readable."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import Browser, contrast, luminance
from chromium import browser as browser
from conftest import make_images

import catclf
from catclf.datasets import Dataset
from catclf.evaluation import compare, evaluate
from catclf.evaluation.compare import Candidate, Plan
from catclf.images.preprocess import Preprocess
from catclf.report import charts, page
from catclf.report.charts import standalone


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full page, with long names that could break a narrow one."""
    images, labels = make_images(40)
    labels[:6] ^= 1
    names = tuple(f"folder/{'long' * 20}-name-{i}.jpeg" for i in range(40))
    Y = labels.astype(float).reshape(1, -1)
    data = Dataset(images, Y, ("non-cat", "cat"), "images.h5", Preprocess(8), names)
    model = catclf.train(data, catclf.Settings(0.01, 500))
    rates = (0.01, 0.0099, 0.001, 0.0001)
    plan = Plan(tuple(Candidate(rate) for rate in rates), 100, folds=3)
    compared = compare.cross_validate(data, plan)
    found = evaluate.Evaluation.of(model, replace(data, source="other images.h5"))
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(model, "model.npz", (found, data), (compared, "roc_auc")))
    return path


SIZES = """return [...document.querySelectorAll('svg,img,table,figure')].map(e => {
  const r = e.getBoundingClientRect(); return [e.tagName, r.width, r.height,
  e.tagName == 'IMG' ? e.naturalWidth : 1]})"""


def test_the_watch_sees_a_bad_page(browser: Browser, tmp_path: Path) -> None:
    """What the next tests rely on: errors, requests, empty figures and overflow are noticed."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<body><img src="missing.png"><svg width="0" height="0"></svg><div style="width:900px">'
        "</div><script>console.error('broken')</script>"
    )
    browser.open(bad, width=375)
    assert any("broken" in line for line in browser.complaints())
    assert [url.rpartition("/")[2] for url in browser.requests()] == ["bad.html", "missing.png"]
    sizes = browser.run(SIZES)
    assert ["svg", 0, 0, 1] in sizes
    assert sizes[0][3] == 0
    assert browser.run("return document.documentElement.scrollWidth") > 375


@pytest.mark.parametrize("width", [320, 768, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_quiet_and_fits(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    browser.open(report, width, scheme)
    assert browser.complaints() == []
    assert browser.requests() == [report.as_uri()]
    sizes = browser.run(SIZES)
    assert {kind for kind, *_ in sizes} == {"svg", "IMG", "TABLE", "FIGURE"}
    assert [size for size in sizes if min(size[1:]) < 1] == []
    assert browser.run("return document.documentElement.scrollWidth") <= width


OUTSIDE = """return [...document.querySelectorAll('svg text')].filter(t => {
  const r = t.getBoundingClientRect(), s = t.ownerSVGElement.getBoundingClientRect();
  return r.left < s.left - 1 || r.right > s.right + 1 || r.top < s.top - 1
    || r.bottom > s.bottom + 1}).map(t => t.textContent)"""
OVERLAPS = """return [...document.querySelectorAll('svg')].flatMap(s => {
  const t = [...s.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);
  return t.flatMap(([a, p], i) => t.slice(i + 1).filter(([b, q]) =>
    Math.min(p.right, q.right) - Math.max(p.left, q.left) > 2 &&
    Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 4).map(([b, q]) => [a, b]))})"""
SMALLEST = """return Math.min(...[...document.querySelectorAll('svg text')].map(
  t => 12 * t.ownerSVGElement.getBoundingClientRect().width / 360))"""


@pytest.mark.parametrize("width", [375, 1100])
def test_labels_of_charts_are_inside_apart_and_large_enough(
    browser: Browser, report: Path, width: int
) -> None:
    browser.open(report, width)
    assert browser.run(OUTSIDE) == []
    assert browser.run(OVERLAPS) == []
    assert browser.run(SMALLEST) >= 10


COLOURS = """const seen = (selector, property) => [...document.querySelectorAll(selector)].map(
  e => [selector, getComputedStyle(e)[property]]);
return {page: getComputedStyle(document.body).backgroundColor,
  text: [...seen('body', 'color'), ...seen('.hint', 'color'), ...seen('figcaption', 'color'),
    ...seen('.small', 'color'), ...seen('svg text', 'fill'), ...seen('thead th', 'color')],
  lines: [...seen('polyline.line', 'stroke'), ...seen('circle', 'fill')],
  cells: [...document.querySelectorAll('.confusion td:not(:empty)')].map(
    e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor])}"""


def test_contrast_of_known_colours() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "color(srgb 1 1 1)") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_lines_stand_out_from_the_page(
    browser: Browser, report: Path, scheme: str
) -> None:
    browser.open(report, scheme=scheme)
    found = browser.run(COLOURS)
    assert (luminance(found["page"]) < 0.5) == (scheme == "dark")
    assert len(found["lines"]) > 6
    assert [(s, c) for s, c in found["text"] if contrast(c, found["page"]) < 4.5] == []
    assert [(s, c) for s, c in found["lines"] if contrast(c, found["page"]) < 3] == []
    assert len(found["cells"]) == 4
    assert [pair for pair in found["cells"] if contrast(*pair) < 4.5] == []


def test_paper_is_white_whatever_the_screen(browser: Browser, report: Path) -> None:
    browser.open(report, scheme="dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.devtools("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    colours = browser.run(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    )
    assert luminance(colours[1]) == 1.0
    assert contrast(*colours) > 10
    printed = browser.devtools("Page.printToPDF", {"printBackground": False})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF-")


def test_a_plot_of_its_own_is_drawn(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "cost.svg"
    path.write_text(standalone(charts.cost_curve((0.69, 0.4, 0.2), (0, 100, 200))))
    for scheme in ("light", "dark"):
        browser.open(path, scheme=scheme)
        assert browser.complaints() == []
        page_colour, line = browser.run(
            "const c = (e, p) => getComputedStyle(document.querySelector(e))[p];"
            "return [c('svg', 'backgroundColor'), c('polyline.line', 'stroke')]"
        )
        assert contrast(page_colour, line) > 3
        assert (luminance(page_colour) < 0.5) == (scheme == "dark")
