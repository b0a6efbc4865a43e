"""The page that scores images: in a real browser it gives what the model gives."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import NEEDS_BROWSER, Browser, contrast, luminance
from chromium import browser as browser
from conftest import ROOT, paint
from PIL import Image

import catclf
from catclf.errors import SettingsError
from catclf.explain import explain
from catclf.features.hog import HogFeatures
from catclf.features.patches import PatchFeatures, Recipe
from catclf.images.colormap import colours, full_colour
from catclf.images.preprocess import Preprocess
from catclf.report import scoring_page
from catclf.report.scoring_page import columns_first

DRAWN = np.asarray(catclf.open_dataset(ROOT / "data" / "test.h5").images)


def pixel_model(preprocess: Preprocess, **more: Any) -> catclf.Model:
    """Random weights with which scores differ by about 4."""
    w = np.random.default_rng(0).normal(0, 8 / preprocess.size, (preprocess.n, 1))
    return catclf.Model(w, 0.25, preprocess, **more)


def patch_model(size: int, flip: bool) -> catclf.Model:
    rng = np.random.default_rng(2)
    recipe = Recipe(atoms=20, scales=Recipe.for_size(size).scales, flip=flip)
    filters = rng.normal(0, 0.2, (2, recipe.numbers, 10)).astype(np.float32)
    filters -= filters.mean(axis=1, keepdims=True)
    offsets = rng.normal(0, 0.2, (2, 10)).astype(np.float32)
    features = PatchFeatures(size, recipe, filters, offsets)
    return catclf.Model(rng.normal(size=(features.n, 1)), 0.5, Preprocess(size), features=features)


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
input.files = data.files;
input.dispatchEvent(new Event('change'));
const look = () => {
  const cards = [...document.querySelectorAll('#cards li[data-state]')].slice(0, files.length);
  if (cards.length < files.length) return setTimeout(look, 10);
  done(cards.reverse().map(e => ({...e.dataset, text: e.innerText})))};
document.getElementById('clear').click();
look()"""


def give(browser: Browser, paths: list[Path]) -> list[dict[str, str]]:
    """What the page's cards say of files that are chosen."""
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    cards: list[dict[str, str]] = browser.run_async(GIVE, files)
    return cards


def write_page(model: catclf.Model, folder: Path) -> Path:
    path = folder / "try.html"
    path.write_text(scoring_page(model, "model.npz"), encoding="utf-8")
    return path


def require_equal(browser: Browser, model: catclf.Model, paths: list[Path], folder: Path) -> None:
    images = np.stack([catclf.read_image(path, model.preprocess) for path in paths])
    middle = float(np.median(model.scores(images))) - model.boundary
    model = replace(model, b=model.b - middle)  # so that both classes are answers
    browser.open(write_page(model, folder))
    cards = give(browser, paths)
    assert browser.complaints() == []
    Z, A = model.scores(images)[0], model.probabilities(images)[0]
    assert Z.std() > 0.3
    found = np.array([[float(card["z"]), float(card["probability"])] for card in cards])
    np.testing.assert_allclose(found[:, 0], Z, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[:, 1], A, rtol=0, atol=1e-3)
    expected = [model.classes[int(z > model.boundary)] for z in Z]
    assert [card["label"] for card in cards] == expected
    assert len(set(expected)) == 2


@NEEDS_BROWSER
def test_scores_of_two_hundred_images(browser: Browser, tmp_path: Path) -> None:
    require_equal(browser, pixel_model(Preprocess(64)), draw_files(tmp_path, 200), tmp_path)


@NEEDS_BROWSER
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_scores_of_other_fits(browser: Browser, tmp_path: Path, fit: str) -> None:
    preprocess = Preprocess(33, fit, background=(0, 128, 200))
    model = pixel_model(preprocess, threshold=0.7)
    require_equal(browser, model, draw_files(tmp_path, 24), tmp_path)


@NEEDS_BROWSER
@pytest.mark.parametrize(("size", "flip"), [(45, True), (45, False), (131, True)])
def test_scores_of_patches(browser: Browser, tmp_path: Path, size: int, flip: bool) -> None:
    require_equal(browser, patch_model(size, flip), draw_files(tmp_path, 6), tmp_path)


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
    cards = give(browser, paths)
    Z = model.scores(np.stack([catclf.read_image(path, model.preprocess) for path in paths]))[0]
    assert abs(Z[0] - Z[1]) > 0.5
    np.testing.assert_allclose([float(card["z"]) for card in cards], Z, rtol=0, atol=0.05)
    assert ["large JPEG" in card["text"] for card in cards] == [True, True, False]


@NEEDS_BROWSER
def test_a_webp_that_exif_data_may_turn_is_marked(browser: Browser, tmp_path: Path) -> None:
    drawing, turned = Image.fromarray(DRAWN[3]), Image.Exif()
    turned[0x0112] = 6
    drawing.save(tmp_path / "plain.webp", lossless=True)
    drawing.save(tmp_path / "turned.webp", lossless=True, exif=turned)
    model = pixel_model(Preprocess(32))
    browser.open(write_page(model, tmp_path))
    plain, marked = give(browser, [tmp_path / "plain.webp", tmp_path / "turned.webp"])
    image = catclf.read_image(tmp_path / "plain.webp", model.preprocess)
    np.testing.assert_allclose(float(plain["z"]), model.scores(image[None])[0, 0], atol=1e-3)
    assert ["WebP with EXIF" in card["text"] for card in (plain, marked)] == [False, True]


MAP = """const c = document.querySelector('#cards .map');
return [c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"""


@NEEDS_BROWSER
@pytest.mark.parametrize("model", [pixel_model(Preprocess(32)), patch_model(45, True)])
def test_the_map_is_that_of_explain(browser: Browser, tmp_path: Path, model: catclf.Model) -> None:
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
    cards = give(browser, [image, tmp_path / "none.txt"])
    assert [card["state"] for card in cards] == ["done", "failed"]
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    assert browser.run("return document.documentElement.scrollWidth") <= width
    background, *texts = browser.run(
        "const s = e => getComputedStyle(e), all = q => [...document.querySelectorAll(q)];"
        "return [s(document.body).backgroundColor,"
        "...all('p, h1, h2, li, summary').map(e => [s(e).color, null]),"
        "...all('button').map(e => [s(e).color, s(e).backgroundColor])]"
    )
    assert (luminance(background) < 0.5) == (scheme == "dark")
    assert [pair for pair in texts if contrast(pair[0], pair[1] or background) < 4.5] == []
    heights = browser.run(
        "return [...document.querySelectorAll('button')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(heights) >= 44  # for a finger (WCAG 2.5.5)


@NEEDS_BROWSER
def test_the_page_is_used_by_keyboard_and_speaks(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_page(pixel_model(Preprocess(16)), tmp_path))
    focused = []
    for _ in range(3):
        for kind in ("keyDown", "keyUp"):
            browser.devtools("Input.dispatchKeyEvent", {"type": kind, "key": "Tab"})
        focused.append(
            browser.run(
                "const e = document.activeElement;"
                "return [e.id || e.tagName, getComputedStyle(e).outlineStyle]"
            )
        )
    assert focused == [[name, "solid"] for name in ("choose", "camera", "SUMMARY")]
    [card] = give(browser, [paint(tmp_path / "a.png", (9, 99, 9))])
    said = browser.run("return document.getElementById('answer').textContent")
    percent = f"{100 * float(card['probability']):.2f}"
    assert said == f"a.png: {card['label']}, P(cat) {percent} %"
    unnamed = "return document.querySelectorAll('canvas:not([aria-label]), button:empty').length"
    assert browser.run(unnamed) == 0


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
        "for (const _ of [1, 2]) document.getElementById('camera').click();"
        "const look = () => {"
        "  const seen = [...document.querySelectorAll('#cards li[data-state]')];"
        "  if (seen.length < 3) return setTimeout(look, 20);"
        "  const names = seen.map(e => e.querySelector('.name').textContent);"
        "  done([drop.defaultPrevented && asked === 1, ...names,"
        "    document.getElementById('camera').textContent])};"
        "look()",
        text,
    )
    assert states[0] is True
    assert sorted(states[1:4]) == ["camera", "x.png", "x.png"]
    assert states[4] == "Stop the camera"
    browser.run("document.getElementById('camera').click()")
    video = browser.run(
        "const v = document.getElementById('video'); return [v.hidden, v.srcObject]"
    )
    assert video == [True, None]
    assert browser.complaints() == []


@NEEDS_BROWSER
def test_the_policy_forbids_connections(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_page(pixel_model(Preprocess(16)), tmp_path))
    failed = browser.run_async(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').catch(e => done(e.name));"
    )
    assert failed == "TypeError"
    assert any("Content Security Policy" in line for line in browser.complaints())


def test_nothing_outside_is_named_and_no_text_leaves_its_place() -> None:
    names = ('</script><img src="x">', "a < b & $policy")
    page = scoring_page(pixel_model(Preprocess(8), classes=names), "</title>.npz")
    assert re.findall(r"https?:|//[a-z]+\.", page) == []
    assert page.count("</script>") == 2
    assert "<img" not in page
    assert "connect-src" not in page  # default-src, which is none, holds for it
    assert "default-src 'none'" in page
    [text] = re.findall(r'<script type="application/json" id="model">(.*?)</script>', page)
    facts = json.loads(text)
    assert facts["classes"] == list(names)
    weights = np.frombuffer(base64.b64decode(facts["w"]), "<f8")
    np.testing.assert_array_equal(weights, pixel_model(Preprocess(8)).w[:, 0])


def test_a_threshold_without_a_finite_score_is_json() -> None:
    for threshold in (0.0, 1.0):
        page = scoring_page(pixel_model(Preprocess(8), threshold=threshold), "m.npz")
        assert "Infinity" not in page


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
            "models of pixels or patches, and this model has features hog: write an .onnx file",
        ),
        (pixel_model(Preprocess(8, resampling="lanczos")), "this model by lanczos"),
    ],
)
def test_other_models_are_refused(model: catclf.Model, reason: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(reason)):
        scoring_page(model, "model.npz")


def test_patches_of_too_many_products_are_refused() -> None:
    recipe = Recipe(atoms=4000)
    filters = np.zeros((2, recipe.numbers, 2000), np.float32)
    features = PatchFeatures(64, recipe, filters, np.zeros((2, 2000), np.float32))
    model = catclf.Model(np.zeros((features.n, 1)), 0.0, features=features)
    # 30² patches at the first scale and 27² at the second, of 108 numbers, with 4000 atoms.
    with pytest.raises(SettingsError, match=f"needs {(900 + 729) * 108 * 4000:,}: "):
        scoring_page(model, "model.npz")
