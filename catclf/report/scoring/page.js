// The page: images come from files, a drop, the clipboard or the camera; each gets a card.

const settings = JSON.parse(document.getElementById("model").textContent);
const model = new MODELS[settings.kind](settings);
const PIXELS_MAX = 100e6;
const CANVAS_MAX = 16e6; // pixels: some browsers leave a larger canvas empty
const PAUSE = 250; // milliseconds between two looks through the camera
const at = (id) => document.getElementById(id);

// The pixels of a file or of a video as the model takes them, with notes on what may differ.
async function prepare(source) {
  const notes = [];
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(source, options);
  const { width, height } = bitmap;
  if (width * height > PIXELS_MAX) throw new Error(`has ${width}x${height} pixels, which are too many`);
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = context.getImageData(0, 0, width, height);
  let { image, clear, empty } = flattened(pixels, settings.background);
  if (empty && width * height > CANVAS_MAX) throw new Error("is too large for this browser");
  if (clear) notes.push("partly transparent: the browser may round its colours");
  if (source instanceof Blob && (await isJpeg(source))) {
    const whole = image;
    image = drafted(whole, settings.size);
    if (image !== whole) notes.push("a large JPEG: catclf may see slightly other pixels");
  }
  if (source instanceof Blob && (await isWebpWithExif(source))) {
    notes.push("WebP with EXIF data: catclf turns it as they say, and some browsers do not");
  }
  return { image: fitted(image, settings), notes };
}

// RIFF, its length, WEBP, VP8X, its length, and flags, of which 8 is EXIF.
async function isWebpWithExif(file) {
  const bytes = new Uint8Array(await file.slice(0, 21).arrayBuffer());
  return String.fromCharCode(...bytes.subarray(8, 16)) === "WEBPVP8X" && (bytes[20] & 8) !== 0;
}

async function isJpeg(file) {
  const [a, b, c] = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  return a === 0xff && b === 0xd8 && c === 0xff;
}

function newCard() {
  const card = at("card").content.firstElementChild.cloneNode(true);
  at("cards").prepend(card);
  at("results").hidden = false;
  return card;
}

function fill(card, name, label, numbers, note) {
  const texts = { ".name": name, ".label": label, ".numbers": numbers, ".hint": note };
  for (const [place, text] of Object.entries(texts)) card.querySelector(place).textContent = text;
}

function draw(canvas, rgba, label) {
  canvas.width = canvas.height = settings.size;
  canvas.setAttribute("aria-label", label);
  const pixels = new ImageData(rgba, settings.size, settings.size);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function opaque({ data }) {
  const out = new Uint8ClampedArray((data.length / 3) * 4);
  for (let i = 0, o = 0; i < data.length; i += 3, o += 4) {
    out.set(data.subarray(i, i + 3), o);
    out[o + 3] = 255;
  }
  return out;
}

// Score an image and show it in a card; the label, and a sentence that says the answer.
async function show(card, name, source) {
  const { image, notes } = await prepare(source);
  const { z, map } = model.predict(image);
  const probability = sigmoid(z);
  const [negative, positive] = settings.classes;
  const label = z > settings.boundary ? positive : negative;
  const percent = `${(100 * probability).toFixed(2)} %`;
  draw(card.querySelector(".seen"), opaque(image), `${name} as the model sees it`);
  const evidence = card.querySelector(".map");
  evidence.classList.add("waiting");
  fill(card, name, label, `P(${positive}) = ${percent}, z = ${z.toFixed(4)}`, notes.join("; "));
  card.querySelector(".bar span").style.width = `${100 * probability}%`;
  const { rgba, full } = colours(await map());
  draw(evidence, rgba, `evidence in ${name}, full colour from ±${full.toPrecision(2)} a pixel`);
  evidence.classList.remove("waiting");
  Object.assign(card.dataset, { z, probability, label, state: "done" });
  return { label, said: `${name}: ${label}, P(${positive}) ${percent}` };
}

function fail(card, name, error) {
  const why = error.name === "InvalidStateError" ? "is no image that this browser reads"
    : error.message;
  card.classList.add("failed");
  for (const part of card.querySelectorAll(".duo,.bar")) part.remove();
  fill(card, name, why, "", "");
  card.dataset.state = "failed";
  return `${name}: ${why}`;
}

let work = Promise.resolve(); // one after the other, in the order in which they came

function take(files) {
  const given = [...files];
  work = work.then(async () => {
    let said = "";
    for (const file of given) {
      const card = newCard();
      const name = file.name || "pasted image";
      try {
        ({ said } = await show(card, name, file));
      } catch (error) {
        said = fail(card, name, error);
      }
    }
    if (given.length > 1) said = `${given.length} images are done. The last: ${said}`;
    if (given.length) at("answer").textContent = said;
  });
}

let stream = null;
let starting = null;

async function watch() {
  const video = at("video");
  const mine = stream;
  let card = newCard();
  let before = "";
  while (stream === mine) {
    if (!card.isConnected) card = newCard(); // the answers were cleared
    if (video.videoWidth) {
      const { label, said } = await show(card, "camera", video);
      if (label !== before) at("answer").textContent = said; // not four times a second
      before = label;
    }
    await new Promise((done) => setTimeout(done, PAUSE));
  }
}

async function startCamera() {
  at("trouble").hidden = true;
  try {
    if (!navigator.mediaDevices) throw new Error("this browser gives no camera to this page");
    const wanted = { video: { facingMode: "environment" } };
    stream = await navigator.mediaDevices.getUserMedia(wanted);
    at("video").srcObject = stream;
    await at("video").play();
  } catch (error) {
    stopCamera();
    trouble(`The camera cannot be used: ${error.message}.`);
    return;
  }
  at("video").hidden = false;
  at("camera").textContent = "Stop the camera";
  at("camera").setAttribute("aria-pressed", "true");
  watch().catch((error) => {
    stopCamera();
    trouble(`The camera has stopped: ${error.message}.`);
  });
}

function stopCamera() {
  for (const track of stream ? stream.getTracks() : []) track.stop();
  stream = null;
  at("video").srcObject = null;
  at("video").hidden = true;
  at("camera").textContent = "Use the camera";
  at("camera").setAttribute("aria-pressed", "false");
}

function trouble(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = false;
}

at("choose").addEventListener("click", () => at("files").click());
at("files").addEventListener("change", () => {
  take(at("files").files);
  at("files").value = ""; // so that the same file can be chosen again
});
at("camera").addEventListener("click", () => {
  if (stream) return stopCamera();
  starting ??= startCamera().finally(() => (starting = null)); // one, however often it is clicked
});
at("clear").addEventListener("click", () => {
  at("cards").replaceChildren();
  at("results").hidden = true;
  at("choose").focus();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));
