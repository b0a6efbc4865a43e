"""The page that scores images: in a real browser it gives what the model gives."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Browser, contrast, luminance
from chromium import browser as browser
from conftest import ROOT, Run, Tell, fill, paint
from networks import random_weights
from PIL import Image

import catclf
from catclf.errors import SettingsError
from catclf.explain import explain
from catclf.export.page import scoring_page
from catclf.features.hog import HogFeatures
from catclf.features.network import NetworkFeatures
from catclf.images.png import colours, full_colour
from catclf.images.preprocess import Preprocess
from catclf.model.model import Similarity

DRAWN = np.asarray(catclf.open_dataset(ROOT / "data" / "test.h5").images)
# Images that a model of the network scores, half of them large; 200 take minutes.
NETWORK_IMAGES = int(os.environ.get("CATCLF_PAGE", "4"))


def pixel_model(preprocess: Preprocess, **more: Any) -> catclf.Model:
    """Random weights with which scores differ by about 4."""
    w = np.random.default_rng(0).normal(0, 8 / preprocess.size, (preprocess.n, 1))
    return catclf.Model(w, 0.25, preprocess, **more)


def network_model(size: int, flip: bool = False) -> catclf.Model:
    features = NetworkFeatures(size, random_weights(), flip)
    w = np.random.default_rng(2).normal(0, 0.3, (features.n, 1))
    return catclf.Model(w, 0.5, Preprocess(size), features=features)


def draw_files(folder: Path, count: int) -> list[Path]:
    """PNG of many sizes and kinds: drawings with grain, grey, of few colours, or with holes."""
    rng = np.random.default_rng(1)
    paths = []
    for i in range(count):
        width, height = (int(side) for side in rng.integers(5, 200, 2))
        if i % 20 == 19:
            width, height = width * 6, max(1, height // 12)
        drawing = Image.fromarray(DRAWN[i % len(DRAWN)]).resize((width, height))
        grain = rng.integers(-25, 26, (height, width, 3))
        image = Image.fromarray(np.clip(np.asarray(drawing) + grain, 0, 255).astype(np.uint8))
        if i % 5 == 1:
            image = image.convert("L")
        elif i % 5 == 2:
            image = image.quantize(32)
        elif i % 5 == 3:
            hole = np.where(rng.random((height, width)) < 0.3, 0, 255)
            image.putalpha(Image.fromarray(hole.astype(np.uint8)))
        path = folder / f"{i}.png"
        image.save(path, compress_level=1)
        paths.append(path)
    return paths


GIVE = """const [files, done] = arguments, data = new DataTransfer();
for (const [name, text] of files)
  data.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
const input = document.getElementById('files');
document.getElementById('clear').click();
input.files = data.files;
input.dispatchEvent(new Event('change'));
const look = () => {
  const rows = [...document.querySelectorAll('#rows tr[data-state]')];
  if (rows.length < files.length) return setTimeout(look, 10);
  done(rows.map(e => ({...e.image, row: null, file: null, text: e.innerText, ...e.dataset})))};
look()"""
SAVED = """const done = arguments[1], made = URL.createObjectURL;
URL.createObjectURL = blob => { blob.text().then(done); return made(blob); };
document.getElementById(arguments[0]).click();
URL.createObjectURL = made"""


@dataclass
class Page:
    """The page of a model in a browser, beside files."""

    browser: Browser
    folder: Path

    def open(self, model: catclf.Model, *look: Any) -> Path:
        path = self.folder / "try.html"
        path.write_text(scoring_page(model, "model.npz"), encoding="utf-8")
        self.browser.open(path, *look)
        return path

    def give(self, paths: list[Path]) -> dict[str, dict[str, Any]]:
        """What the page's table says of files that are chosen, by name, in its order."""
        files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
        return {row["name"]: row for row in self.browser.run_async(GIVE, files)}

    def text_of(self, name: str) -> str:
        return str(self.browser.run(f"return document.getElementById('{name}').textContent"))

    def require_saved_scores(
        self, model: catclf.Model, run: Run, tolerance: float
    ) -> list[list[str]]:
        """The rows of the saved file, which are what the command prints of the same images."""
        catclf.save(model, self.folder / "model.npz")
        saved = rows_of_csv(self.browser.run_async(SAVED, "save-scores"))
        names = [line[0] for line in saved[1:]]
        predicted = rows_of_csv(run("predict", *names, "--format", "csv").stdout)
        assert saved[0] == predicted[0]
        for line, other in zip(saved[1:], predicted[1:], strict=True):
            assert line[:2] + line[4:] == other[:2] + other[4:]
            assert float(line[2]) == pytest.approx(float(other[2]), abs=tolerance)
        return saved


def rows_of_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def read_images(paths: list[Path], model: catclf.Model) -> Any:
    return np.stack([catclf.read_image(path, model.preprocess) for path in paths])


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Page:
    return Page(browser, tmp_path)


@pytest.mark.parametrize(
    ("make", "count", "tolerance"),
    [
        (partial(pixel_model, Preprocess(64)), 60, 1e-9),
        (partial(pixel_model, Preprocess(33, "crop"), threshold=0.7), 24, 1e-9),
        (partial(pixel_model, Preprocess(33, "pad", background=(0, 128, 200))), 24, 1e-9),
        (partial(network_model, 131, flip=True), NETWORK_IMAGES, 2e-3),
        (partial(network_model, 350), NETWORK_IMAGES // 2, 2e-3),
    ],
    ids=["stretch", "crop", "pad", "flip", "network"],
)
def test_scores_are_those_of_the_model(
    page: Page, tell: Tell, make: Callable[[], catclf.Model], count: int, tolerance: float
) -> None:
    model, paths = make(), draw_files(page.folder, count)
    images = read_images(paths, model)
    middle = float(np.median(model.scores(images))) - model.boundary
    model = replace(model, b=model.b - middle)  # so that both classes are predicted
    page.open(model)
    rows: dict[str, dict[str, Any]] = {}
    for start in range(0, len(paths), 20):
        rows |= page.give(paths[start : start + 20])
    assert page.browser.complaints() == []
    assert rows.keys() == {path.name for path in paths}
    found = [rows[path.name] for path in paths]
    Z, A = model.scores(images)[0], model.probabilities(images)[0]
    assert Z.std() > 0.1
    np.testing.assert_allclose([row["z"] for row in found], Z, rtol=0, atol=tolerance)
    np.testing.assert_allclose([row["probability"] for row in found], A, rtol=0, atol=tolerance)
    sure = np.abs(Z - model.boundary) > tolerance
    expected = np.array(model.classes)[(model.boundary < Z).astype(int)]
    labels = np.array([row["label"] for row in found])
    assert labels[sure].tolist() == expected[sure].tolist()
    assert len(set(labels[sure])) == 2
    worst = np.abs([row["z"] for row in found] - Z).max()
    took = np.median([row["milliseconds"] for row in found])
    side = model.preprocess.size
    tell(f"page at {side}: {len(paths)} images, z within {worst:.1e}, {took:.0f} ms each")


def test_images_unlike_the_training_images_are_marked(page: Page, run: Run) -> None:
    paths, model = draw_files(page.folder, 3), network_model(130)
    assert model.features is not None
    rows = model.features.transform(read_images(paths, model))
    mean = np.full(rows.shape[1], 0.1, np.float32)
    centers = np.rint(40 * (rows[:2] - mean)).clip(-127, 127).astype(np.int8)
    similarity = Similarity(centers, mean, 0.999)
    model = replace(model, similarity=similarity)
    page.open(model)
    given = page.give(paths)
    found = [given[path.name] for path in paths]
    expected = similarity.of_rows(rows)
    assert [row["similarity"] for row in found] == pytest.approx(expected, abs=1e-4)
    assert [row["unlike"] for row in found] == [False, False, True]
    assert "unlike the training images" in found[2]["text"]
    scores = page.require_saved_scores(model, run, 2e-3)
    assert [line[4] for line in scores[1:]].count("true") == 1


def turned() -> Image.Exif:
    """Says that an image is to be turned by a quarter to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_jpeg_is_turned_and_made_smaller_nearly_as_here(page: Page) -> None:
    drawing = Image.fromarray(DRAWN[3]).resize((300, 200), Image.Resampling.BICUBIC)
    paths = [page.folder / name for name in ("plain.jpg", "turned.jpg", "small.jpg")]
    drawing.save(paths[0], quality=95)
    drawing.save(paths[1], quality=95, exif=turned())
    drawing.resize((50, 40)).save(paths[2], quality=95)
    model = pixel_model(Preprocess(32))
    page.open(model)
    rows = page.give(paths)
    Z = model.scores(read_images(paths, model))[0]
    assert abs(Z[0] - Z[1]) > 0.5
    found = [rows[path.name]["z"] for path in paths]
    np.testing.assert_allclose(found, Z, rtol=0, atol=0.05)
    marked = ["large JPEG" in " ".join(rows[path.name]["notes"]) for path in paths]
    assert marked == [True, True, False]


def test_what_a_browser_may_not_read_is_named(page: Page) -> None:
    heic = b"\0\0\0\x18ftypheic" + bytes(40)
    fill(page.folder, {"photo.heic": heic, "none.txt": "no image", "empty.png": b""})
    plain, drawing = page.folder / "plain.webp", Image.fromarray(DRAWN[3])
    drawing.save(plain, lossless=True)
    drawing.save(page.folder / "turned.webp", lossless=True, exif=turned())
    model = pixel_model(Preprocess(32))
    page.open(model)
    rows = page.give([path for path in page.folder.iterdir() if path.suffix != ".html"])
    z = model.scores(read_images([plain], model))[0, 0]
    assert rows["plain.webp"]["z"] == pytest.approx(z, abs=1e-3)
    assert rows["plain.webp"]["notes"] == []
    assert "WebP with EXIF" in rows["turned.webp"]["notes"][0]
    assert "HEIC" in rows["photo.heic"]["error"]
    for name in ("none.txt", "empty.png"):
        assert rows[name]["error"] == "is no image that this browser reads"


MAP = """const c = document.getElementById('map');
return [c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"""


def test_the_map_is_that_of_explain(page: Page) -> None:
    model, paths = pixel_model(Preprocess(32)), draw_files(page.folder, 1)
    page.open(model)
    page.give(paths)
    size, *numbers = page.browser.run(MAP)
    values = explain(model, read_images(paths, model)[0]).per_pixel
    expected = colours(values, full_colour(values), alpha=True).astype(int)
    shown = np.array(numbers).reshape(size, size, 4)
    np.testing.assert_allclose(shown[..., 3], expected[..., 3], atol=1)
    strong = expected[..., 3] > 128  # a canvas keeps fewer digits of clear colours
    assert strong.any()
    np.testing.assert_allclose(shown[strong], expected[strong], atol=2)


COVER = """const [squares, done] = arguments, {file, z} = images[0];
ask('look', {source: file}).then(async ({data}) => {
  const drops = [];
  for (const square of squares) drops.push(z - (await ask('cover', {data, square})).z);
  document.getElementById('explain').click();
  const look = () => {
    const step = document.getElementById('step').textContent;
    if (!/([2-9]|[0-9][0-9]) of 64/.test(step)) return setTimeout(look, 20);
    document.getElementById('clear').click();
    done(drops);
  };
  look();
})"""


def test_score_drops_of_the_network_are_those_of_explain(page: Page) -> None:
    model, paths = network_model(130), draw_files(page.folder, 1)
    page.open(model)
    page.give(paths)
    values = explain(model, read_images(paths, model)[0]).per_pixel
    edges = [round(i * 130 / 8) for i in range(9)]
    drops = [
        values[edges[i] : edges[i + 1], edges[j] : edges[j + 1]].sum()
        for i, j in ((0, 0), (3, 5), (7, 7))
    ]
    assert page.browser.run_async(COVER, [0, 29, 63]) == pytest.approx(drops, abs=2e-3)


COLOURS = """const s = e => getComputedStyle(e), all = q => [...document.querySelectorAll(q)];
return [s(document.body).backgroundColor,
  ...all('p, h1, h2, li, summary, td, th').map(e => [s(e).color, null]),
  ...all('button').map(e => [s(e).color, s(e).backgroundColor])]"""
HEIGHTS = """return [...document.querySelectorAll('button')].filter(e => e.checkVisibility())
.map(e => e.getBoundingClientRect().height)"""
UNNAMED = """return document.querySelectorAll(
  'canvas:not([aria-label]):not([aria-hidden]):not([hidden])').length
  + [...document.querySelectorAll('button')].filter(e => !e.textContent.trim()).length"""
FOCUSED = """const e = document.activeElement;
return [e.id || e.tagName, getComputedStyle(e).outlineStyle]"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1100])
def test_the_page_is_quiet_fits_and_is_readable(page: Page, width: int, scheme: str) -> None:
    browser, classes = page.browser, ("no " + "long" * 30, "cat")
    path = page.open(pixel_model(Preprocess(16), classes=classes), width, scheme)
    fill(page.folder, {"name" * 30 + ".png": (200, 30, 60), "none.txt": "no image"})
    rows = page.give([page.folder / ("name" * 30 + ".png"), page.folder / "none.txt"])
    assert [row["state"] for row in rows.values()] == ["done", "failed"]
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("blob:")] == [path.as_uri()]
    assert browser.run("return document.documentElement.scrollWidth") <= width
    background, *texts = browser.run(COLOURS)
    assert (luminance(background) < 0.5) == (scheme == "dark")
    for text, behind in texts:
        clear = behind in (None, "rgba(0, 0, 0, 0)")
        assert contrast(text, background if clear else behind) >= 4.5
    assert min(browser.run(HEIGHTS)) >= 44  # for a finger (WCAG 2.5.5)


def press(browser: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.devtools("Input.dispatchKeyEvent", {"type": kind, "key": key})


def test_the_page_is_used_by_keyboard_and_speaks(page: Page) -> None:
    page.open(pixel_model(Preprocess(16)))
    for name in ("choose", "camera", "SUMMARY"):
        press(page.browser, "Tab")
        assert page.browser.run(FOCUSED) == [name, "solid"]
    row = page.give([paint(page.folder / "a.png", (9, 99, 9))])["a.png"]
    said = f"a.png: {row['label']}, P(cat) {100 * row['probability']:.2f} %"
    assert page.text_of("answer") == said
    assert page.browser.run(UNNAMED) == 0


NAMED = """const [name, done] = arguments;
const look = () => document.getElementById('name').textContent === name ? done()
  : setTimeout(look, 5);
look()"""


def test_labels_by_keys_train_a_model(page: Page, run: Run) -> None:
    classes = ("non-cat", "a, cat")
    model = pixel_model(Preprocess(16), classes=classes)
    page.open(model)
    paths = [paint(page.folder / f"{i}.png", (60 * i, 40, 250 - 60 * i)) for i in range(4)]
    rows = page.give(paths)
    doubts = [abs(row["z"]) for row in rows.values()]
    assert doubts == sorted(doubts)
    page.browser.run("document.querySelector('#rows button').click()")
    keys = dict(zip(rows, "2121", strict=True))
    for name, key in keys.items():
        page.browser.run_async(NAMED, name)
        press(page.browser, key)
    assert page.text_of("name") == list(rows)[-1]
    labels = page.browser.run_async(SAVED, "save-labels")
    expected = [[name, classes[int(key) - 1]] for name, key in keys.items()]
    assert rows_of_csv(labels) == [["path", "label"], *expected]
    (page.folder / "labels.csv").write_text(labels)
    done = run("train", "--data", "labels.csv", "--size", "16", "--iterations", "5", "-q")
    assert done.code == 0, done.stderr
    page.require_saved_scores(model, run, 1e-6)


DROP_AND_PASTE = """const [text, done] = arguments, data = new DataTransfer();
data.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], 'x.png'));
const more = {bubbles: true, cancelable: true};
const drop = new DragEvent('drop', {dataTransfer: data, ...more});
document.getElementById('drop').dispatchEvent(drop);
document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, ...more}));
const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
let asked = 0;
devices.getUserMedia = (wanted) => { asked += 1; return ask(wanted); };
const name = () => document.getElementById('name').textContent;
const look = () => {
  const seen = [...document.querySelectorAll('#rows tr[data-state]')];
  if (seen.length < 2) return setTimeout(look, 20);
  if (!asked) for (const _ of [1, 2]) document.getElementById('camera').click();
  if (name() !== 'camera') return setTimeout(look, 20);
  done([drop.defaultPrevented && asked === 1,
    ...seen.map(e => e.querySelector('button').textContent)])};
look()"""


def test_images_are_dropped_pasted_and_seen(page: Page) -> None:
    page.open(pixel_model(Preprocess(16)))
    content = paint(page.folder / "x.png", (10, 200, 30), (9, 9)).read_bytes()
    found = page.browser.run_async(DROP_AND_PASTE, base64.b64encode(content).decode())
    assert found == [True, "x.png", "x.png"]
    assert page.text_of("camera") == "Stop the camera"
    page.browser.run("document.getElementById('camera').click()")
    video = "const v = document.getElementById('video'); return [v.hidden, v.srcObject]"
    assert page.browser.run(video) == [True, None]
    assert page.browser.complaints() == []


def test_a_browser_that_changes_pixels_is_found(page: Page) -> None:
    sound = page.open(pixel_model(Preprocess(16)))
    noise = (
        "const read = OffscreenCanvasRenderingContext2D.prototype.getImageData;"
        "OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...a) {"
        " const found = read.apply(this, a); found.data[0] ^= 1; return found; };"
    )
    noisy = sound.with_name("noisy.html")
    engine = '<script type="text/plain" id="engine">'
    noisy.write_text(sound.read_text().replace(engine, engine + noise))
    for path in (sound, noisy):
        page.browser.open(path)
        page.give([paint(page.folder / "a.png", (9, 99, 9))])
        hidden = page.browser.run("return document.getElementById('trouble').hidden")
        assert hidden is (path == sound)


def test_the_policy_forbids_connections(page: Page) -> None:
    """Neither the page nor its worker reaches anything."""
    page.open(pixel_model(Preprocess(16)))
    script = "fetch('http://127.0.0.1:9/').then(() => 'connected', e => e.name)"
    found = page.browser.run_async(
        f"const done = arguments[0]; {script}.then(first => {{"
        f" const text = `{script}.then(postMessage)`;"
        " const worker = new Worker(URL.createObjectURL(new Blob([text])));"
        " worker.onmessage = e => done([first, e.data]); });"
    )
    assert found == ["TypeError", "TypeError"]
    assert sum("Content Security Policy" in line for line in page.browser.complaints()) >= 1


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])  # of which some have no finite score
def test_nothing_outside_is_named_and_no_text_leaves_its_place(threshold: float) -> None:
    names = ('</script><img src="x">', "a < b & $policy")
    model = pixel_model(Preprocess(8), classes=names, threshold=threshold)
    page = scoring_page(model, "</title>.npz")
    assert re.findall(r"https?:|//[a-z]+\.", page) == []
    assert page.count("</script>") == page.count("<script") == 4
    assert "<img" not in page
    assert "connect-src" not in page  # default-src, which is none, holds for it
    assert "default-src 'none'" in page
    assert "<noscript>" in page
    texts = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', page)
    kept = {name: json.loads(text, parse_constant=pytest.fail) for name, text in texts}
    assert kept["settings"]["classes"] == list(names)
    kind, content = kept["arrays"]["w"]
    weights = np.frombuffer(base64.b64decode(content), kind)
    np.testing.assert_array_equal(weights, model.w[:, 0])
    assert len(scoring_page(network_model(256), "model.npz").encode()) < 8_000_000


def test_other_models_are_refused() -> None:
    hog = catclf.Model(np.zeros((1956, 1)), 0.0, features=HogFeatures(64))
    why = "models of network and of pixels, and this model has features hog: train with `features`"
    with pytest.raises(SettingsError, match=why):
        scoring_page(hog, "model.npz")
    with pytest.raises(SettingsError, match="this model by lanczos"):
        scoring_page(pixel_model(Preprocess(8, resampling="lanczos")), "model.npz")
