"""The page that scores images: in a real browser it gives what the model gives."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import NEEDS_BROWSER, Browser, contrast, luminance
from chromium import browser as browser
from conftest import ROOT, Run, Tell, paint
from networks import random_weights
from PIL import Image

import catclf
from catclf.errors import SettingsError
from catclf.explain import explain
from catclf.export.page import columns_first, scoring_page
from catclf.features.hog import HogFeatures
from catclf.features.network import NetworkFeatures
from catclf.images.png import colours, full_colour
from catclf.images.preprocess import Preprocess
from catclf.model.model import Similarity

DRAWN = np.asarray(catclf.open_dataset(ROOT / "data" / "test.h5").images)
# Images that a model of the network scores; 200 take minutes.
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


def give(browser: Browser, paths: list[Path]) -> list[dict[str, Any]]:
    """What the page's table says of files that are chosen, in the order of the table."""
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    rows: list[dict[str, Any]] = browser.run_async(GIVE, files)
    return rows


def write_page(model: catclf.Model, folder: Path) -> Path:
    path = folder / "try.html"
    path.write_text(scoring_page(model, "model.npz"), encoding="utf-8")
    return path


def require_equal(
    browser: Browser, model: catclf.Model, paths: list[Path], folder: Path
) -> tuple[float, float]:
    """The largest difference of z, and the median of the milliseconds that an image took."""
    images = np.stack([catclf.read_image(path, model.preprocess) for path in paths])
    middle = float(np.median(model.scores(images))) - model.boundary
    model = replace(model, b=model.b - middle)  # so that both classes are predicted
    browser.open(write_page(model, folder))
    rows = []
    for start in range(0, len(paths), 20):
        rows += give(browser, paths[start : start + 20])
    assert browser.complaints() == []
    Z, A = model.scores(images)[0], model.probabilities(images)[0]
    assert Z.std() > 0.1
    expected = {path.name: (z, a) for path, z, a in zip(paths, Z, A, strict=True)}
    found = {row["name"]: (row["z"], row["probability"]) for row in rows}
    assert set(found) == set(expected)
    assert [found[name] for name in expected] == [
        pytest.approx(pair, rel=0, abs=2e-3) for pair in expected.values()
    ]
    labels = {row["name"]: row["label"] for row in rows if abs(row["z"] - model.boundary) > 2e-3}
    assert labels == {
        name: model.classes[int(expected[name][0] > model.boundary)] for name in labels
    }
    assert len(set(labels.values())) == 2
    worst = max(abs(found[name][0] - z) for name, (z, _) in expected.items())
    return worst, float(np.median([row["milliseconds"] for row in rows]))


@NEEDS_BROWSER
def test_scores_of_many_images(browser: Browser, tmp_path: Path) -> None:
    paths = draw_files(tmp_path, 60)
    assert require_equal(browser, pixel_model(Preprocess(64)), paths, tmp_path)[0] < 1e-9


@NEEDS_BROWSER
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_scores_of_other_fits(browser: Browser, tmp_path: Path, fit: str) -> None:
    model = pixel_model(Preprocess(33, fit, background=(0, 128, 200)), threshold=0.7)
    require_equal(browser, model, draw_files(tmp_path, 24), tmp_path)


@NEEDS_BROWSER
@pytest.mark.parametrize(("size", "flip"), [(131, True), (350, False)])
def test_scores_of_the_network(
    browser: Browser, tmp_path: Path, tell: Tell, size: int, flip: bool
) -> None:
    paths = draw_files(tmp_path, NETWORK_IMAGES)
    worst, milliseconds = require_equal(browser, network_model(size, flip), paths, tmp_path)
    tell(f"page at {size}: {len(paths)} images, z within {worst:.1e}, {milliseconds:.0f} ms each")


@NEEDS_BROWSER
def test_images_unlike_the_training_images_are_marked(
    browser: Browser, run: Run, tmp_path: Path
) -> None:
    paths = draw_files(tmp_path, 3)
    model = network_model(130)
    assert model.features is not None
    images = np.stack([catclf.read_image(path, model.preprocess) for path in paths])
    rows = model.features.transform(images)
    mean = np.full(rows.shape[1], 0.1, np.float32)
    centers = np.rint(40 * (rows[:2] - mean)).clip(-127, 127).astype(np.int8)
    similarity = Similarity(centers, mean, 0.999)
    browser.open(write_page(replace(model, similarity=similarity), tmp_path))
    found = {row["name"]: row for row in give(browser, paths)}
    expected = similarity.of_rows(rows)
    assert [found[path.name]["similarity"] for path in paths] == pytest.approx(expected, abs=1e-4)
    assert [found[path.name]["unlike"] for path in paths] == [False, False, True]
    assert "unlike the training images" in found[paths[2].name]["text"]
    scores = list(csv.reader(io.StringIO(browser.run_async(SAVED, "save-scores"))))
    catclf.save(replace(model, similarity=similarity), tmp_path / "model.npz")
    predicted = run("predict", *(line[0] for line in scores[1:]), "--format", "csv").stdout
    lines = list(csv.reader(io.StringIO(predicted)))
    assert scores[0] == lines[0]
    assert [line[4] for line in scores] == [line[4] for line in lines]
    assert [line[4] for line in scores[1:]].count("true") == 1


@NEEDS_BROWSER
def test_a_jpeg_is_turned_and_made_smaller_nearly_as_here(browser: Browser, tmp_path: Path) -> None:
    drawing = Image.fromarray(DRAWN[3]).resize((300, 200), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter to the right
    paths = [tmp_path / name for name in ("plain.jpg", "turned.jpg", "small.jpg")]
    drawing.save(paths[0], quality=95)
    drawing.save(paths[1], quality=95, exif=turned)
    drawing.resize((50, 40)).save(paths[2], quality=95)
    model = pixel_model(Preprocess(32))
    browser.open(write_page(model, tmp_path))
    rows = {row["name"]: row for row in give(browser, paths)}
    Z = model.scores(np.stack([catclf.read_image(path, model.preprocess) for path in paths]))[0]
    assert abs(Z[0] - Z[1]) > 0.5
    found = [rows[path.name]["z"] for path in paths]
    np.testing.assert_allclose(found, Z, rtol=0, atol=0.05)
    marked = ["large JPEG" in " ".join(rows[path.name]["notes"]) for path in paths]
    assert marked == [True, True, False]


@NEEDS_BROWSER
def test_what_a_browser_may_not_read_is_named(browser: Browser, tmp_path: Path) -> None:
    drawing, turned = Image.fromarray(DRAWN[3]), Image.Exif()
    turned[0x0112] = 6
    drawing.save(tmp_path / "plain.webp", lossless=True)
    drawing.save(tmp_path / "turned.webp", lossless=True, exif=turned)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (tmp_path / "none.txt").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    model = pixel_model(Preprocess(32))
    browser.open(write_page(model, tmp_path))
    names = ("plain.webp", "turned.webp", "photo.heic", "none.txt", "empty.png")
    rows = {row["name"]: row for row in give(browser, [tmp_path / name for name in names])}
    image = catclf.read_image(tmp_path / "plain.webp", model.preprocess)
    assert rows["plain.webp"]["z"] == pytest.approx(model.scores(image[None])[0, 0], abs=1e-3)
    assert rows["plain.webp"]["notes"] == []
    assert "WebP with EXIF" in rows["turned.webp"]["notes"][0]
    assert "HEIC" in rows["photo.heic"]["error"]
    for name in ("none.txt", "empty.png"):
        assert rows[name]["error"] == "is no image that this browser reads"


MAP = """const c = document.getElementById('map');
return [c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"""


@NEEDS_BROWSER
def test_the_map_is_that_of_explain(browser: Browser, tmp_path: Path) -> None:
    model = pixel_model(Preprocess(32))
    [path] = draw_files(tmp_path, 1)
    browser.open(write_page(model, tmp_path))
    give(browser, [path])
    size, *numbers = browser.run(MAP)
    values = explain(model, catclf.read_image(path, model.preprocess)).per_pixel
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
    if (!step.includes('2 of 64')) return setTimeout(look, 20);
    document.getElementById('clear').click();
    done(drops);
  };
  look();
})"""


@NEEDS_BROWSER
def test_score_drops_of_the_network_are_those_of_explain(browser: Browser, tmp_path: Path) -> None:
    model = network_model(130)
    [path] = draw_files(tmp_path, 1)
    browser.open(write_page(model, tmp_path))
    give(browser, [path])
    values = explain(model, catclf.read_image(path, model.preprocess)).per_pixel
    edges = [round(i * 130 / 8) for i in range(9)]
    drops = [
        values[edges[i] : edges[i + 1], edges[j] : edges[j + 1]].sum()
        for i, j in ((0, 0), (3, 5), (7, 7))
    ]
    assert browser.run_async(COVER, [0, 29, 63]) == pytest.approx(drops, abs=2e-3)


@NEEDS_BROWSER
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1100])
def test_the_page_is_quiet_fits_and_is_readable(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    names = ("no " + "long" * 30, "cat")
    page = write_page(pixel_model(Preprocess(16), classes=names), tmp_path)
    browser.open(page, width, scheme)
    image = paint(tmp_path / f"{'name' * 30}.png", (200, 30, 60))
    (tmp_path / "none.txt").write_text("no image")
    rows = give(browser, [image, tmp_path / "none.txt"])
    assert [row["state"] for row in rows] == ["done", "failed"]
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("blob:")] == [page.as_uri()]
    assert browser.run("return document.documentElement.scrollWidth") <= width
    background, *texts = browser.run(
        "const s = e => getComputedStyle(e), all = q => [...document.querySelectorAll(q)];"
        "return [s(document.body).backgroundColor,"
        "...all('p, h1, h2, li, summary, td, th').map(e => [s(e).color, null]),"
        "...all('button').map(e => [s(e).color, s(e).backgroundColor])]"
    )
    assert (luminance(background) < 0.5) == (scheme == "dark")
    clear = "rgba(0, 0, 0, 0)"
    for text, behind in texts:
        assert contrast(text, background if behind in (None, clear) else behind) >= 4.5
    heights = browser.run(
        "return [...document.querySelectorAll('button')].filter(e => e.checkVisibility())"
        ".map(e => e.getBoundingClientRect().height)"
    )
    assert min(heights) >= 44  # for a finger (WCAG 2.5.5)


def press(browser: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.devtools("Input.dispatchKeyEvent", {"type": kind, "key": key})


SAVED = """const done = arguments[1], made = URL.createObjectURL;
URL.createObjectURL = blob => { blob.text().then(done); return made(blob); };
document.getElementById(arguments[0]).click();
URL.createObjectURL = made"""


@NEEDS_BROWSER
def test_the_page_is_used_by_keyboard_and_speaks(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_page(pixel_model(Preprocess(16)), tmp_path))
    focused = []
    for _ in range(3):
        press(browser, "Tab")
        focused.append(
            browser.run(
                "const e = document.activeElement;"
                "return [e.id || e.tagName, getComputedStyle(e).outlineStyle]"
            )
        )
    assert focused == [[name, "solid"] for name in ("choose", "camera", "SUMMARY")]
    [row] = give(browser, [paint(tmp_path / "a.png", (9, 99, 9))])
    said = browser.run("return document.getElementById('answer').textContent")
    assert said == f"a.png: {row['label']}, P(cat) {100 * row['probability']:.2f} %"
    unnamed = (
        "return document.querySelectorAll('canvas:not([aria-label]):not([aria-hidden])"
        ":not([hidden])').length + [...document.querySelectorAll('button')]"
        ".filter(e => !e.textContent.trim()).length"
    )
    assert browser.run(unnamed) == 0


@NEEDS_BROWSER
def test_labels_by_keys_train_a_model(browser: Browser, run: Run, tmp_path: Path) -> None:
    model = pixel_model(Preprocess(16), classes=("non-cat", "a, cat"))
    browser.open(write_page(model, tmp_path))
    paths = [paint(tmp_path / f"{i}.png", (60 * i, 40, 250 - 60 * i)) for i in range(4)]
    rows = give(browser, paths)
    doubts = [abs(row["z"]) for row in rows]
    assert doubts == sorted(doubts)
    browser.run("document.querySelector('#rows button').click()")
    shown = "return document.getElementById('name').textContent"
    wait = "const f = arguments[1], l = () => {0} === arguments[0] ? f() : setTimeout(l, 5); l()"
    name = "document.getElementById('name').textContent"
    for row, key in zip(rows, "2121", strict=True):
        browser.run_async(wait.replace("{0}", name), row["name"])
        press(browser, key)
    assert browser.run(shown) == rows[3]["name"]
    labels = browser.run_async(SAVED, "save-labels")
    assert list(csv.reader(io.StringIO(labels))) == [
        ["path", "label"],
        *(
            [row["name"], ("non-cat", "a, cat")[key]]
            for row, key in zip(rows, (1, 0, 1, 0), strict=True)
        ),
    ]
    (tmp_path / "labels.csv").write_text(labels)
    done = run("train", "--data", "labels.csv", "--size", "16", "--iterations", "5", "-q")
    assert done.code == 0, done.stderr
    scores = list(csv.reader(io.StringIO(browser.run_async(SAVED, "save-scores"))))
    catclf.save(model, tmp_path / "model.npz")
    predicted = run("predict", *(row["name"] for row in rows), "--format", "csv").stdout
    expected = list(csv.reader(io.StringIO(predicted)))
    assert [line[:2] for line in scores] == [line[:2] for line in expected]
    assert scores[0] == expected[0]
    for line, other in zip(scores[1:], expected[1:], strict=True):
        assert float(line[2]) == pytest.approx(float(other[2]), abs=1e-6)


@NEEDS_BROWSER
def test_images_are_dropped_pasted_and_seen(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_page(pixel_model(Preprocess(16)), tmp_path))
    content = io.BytesIO()
    Image.new("RGB", (9, 9), (10, 200, 30)).save(content, "PNG")
    text = base64.b64encode(content.getvalue()).decode()
    states = browser.run_async(
        "const [text, done] = arguments, data = new DataTransfer();"
        "data.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], 'x.png'));"
        "const more = {bubbles: true, cancelable: true};"
        "const drop = new DragEvent('drop', {dataTransfer: data, ...more});"
        "document.getElementById('drop').dispatchEvent(drop);"
        "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, ...more}));"
        "const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);"
        "let asked = 0;"
        "devices.getUserMedia = (wanted) => { asked += 1; return ask(wanted); };"
        "const name = () => document.getElementById('name').textContent;"
        "const look = () => {"
        "  const seen = [...document.querySelectorAll('#rows tr[data-state]')];"
        "  if (seen.length < 2) return setTimeout(look, 20);"
        "  if (!asked) for (const _ of [1, 2]) document.getElementById('camera').click();"
        "  if (name() !== 'camera') return setTimeout(look, 20);"
        "  done([drop.defaultPrevented && asked === 1,"
        "    ...seen.map(e => e.querySelector('button').textContent),"
        "    document.getElementById('camera').textContent])};"
        "look()",
        text,
    )
    assert states == [True, "x.png", "x.png", "Stop the camera"]
    browser.run("document.getElementById('camera').click()")
    video = browser.run(
        "const v = document.getElementById('video'); return [v.hidden, v.srcObject]"
    )
    assert video == [True, None]
    assert browser.complaints() == []


@NEEDS_BROWSER
def test_a_browser_that_changes_pixels_is_found(browser: Browser, tmp_path: Path) -> None:
    page = write_page(pixel_model(Preprocess(16)), tmp_path)
    noise = (
        "const read = OffscreenCanvasRenderingContext2D.prototype.getImageData;"
        "OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...a) {"
        " const found = read.apply(this, a); found.data[0] ^= 1; return found; };"
    )
    noisy = page.with_name("noisy.html")
    engine = '<script type="text/plain" id="engine">'
    noisy.write_text(page.read_text().replace(engine, engine + noise))
    trouble = "return document.getElementById('trouble').hidden"
    for path, hidden in ((page, True), (noisy, False)):
        browser.open(path)
        give(browser, [paint(tmp_path / "a.png", (9, 99, 9))])
        assert browser.run(trouble) is hidden


@NEEDS_BROWSER
def test_the_policy_forbids_connections(browser: Browser, tmp_path: Path) -> None:
    """Neither the page nor its worker reaches anything."""
    browser.open(write_page(pixel_model(Preprocess(16)), tmp_path))
    script = "fetch('http://127.0.0.1:9/').then(() => 'connected', e => e.name)"
    found = browser.run_async(
        f"const done = arguments[0]; {script}.then(first => {{"
        f" const text = `{script}.then(postMessage)`;"
        " const worker = new Worker(URL.createObjectURL(new Blob([text])));"
        " worker.onmessage = e => done([first, e.data]); });"
    )
    assert found == ["TypeError", "TypeError"]
    assert sum("Content Security Policy" in line for line in browser.complaints()) >= 1


def test_nothing_outside_is_named_and_no_text_leaves_its_place() -> None:
    names = ('</script><img src="x">', "a < b & $policy")
    page = scoring_page(pixel_model(Preprocess(8), classes=names), "</title>.npz")
    assert re.findall(r"https?:|//[a-z]+\.", page) == []
    assert page.count("</script>") == page.count("<script") == 4
    assert "<img" not in page
    assert "connect-src" not in page  # default-src, which is none, holds for it
    assert "default-src 'none'" in page
    assert "<noscript>" in page
    texts = [
        re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page)
        for name in ("settings", "arrays")
    ]
    [[facts], [arrays]] = [[json.loads(text) for text in found] for found in texts]
    assert facts["classes"] == list(names)
    kind, content = arrays["w"]
    weights = np.frombuffer(base64.b64decode(content), kind)
    np.testing.assert_array_equal(weights, pixel_model(Preprocess(8)).w[:, 0])


def test_a_page_of_the_network_is_small() -> None:
    page = scoring_page(network_model(256), "model.npz")
    assert len(page.encode()) < 8_000_000


def test_a_threshold_without_a_finite_score_is_json() -> None:
    for threshold in (0.0, 1.0):
        page = scoring_page(pixel_model(Preprocess(8), threshold=threshold), "m.npz")
        assert "Infinity" not in page.partition('id="settings">')[2].partition("</script>")[0]


def test_the_order_of_passes_is_that_of_this_pillow() -> None:
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 256, (50, 20, 3), dtype=np.uint8))
    bicubic = Image.Resampling.BICUBIC
    across_first = image.resize((8, 50), bicubic).resize((8, 8), bicubic)
    down_first = image.resize((20, 8), bicubic).resize((8, 8), bicubic)
    expected = down_first if columns_first() else across_first
    assert image.resize((8, 8), bicubic).tobytes() == expected.tobytes()
    assert down_first.tobytes() != across_first.tobytes()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            catclf.Model(np.zeros((1956, 1)), 0.0, features=HogFeatures(64)),
            "models of network and of pixels, and this model has features hog: train with "
            "`features` network",
        ),
        (pixel_model(Preprocess(8, resampling="lanczos")), "this model by lanczos"),
    ],
)
def test_other_models_are_refused(model: catclf.Model, reason: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(reason)):
        scoring_page(model, "model.npz")
