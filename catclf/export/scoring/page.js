"use strict";
// The page: images come from files, a drop, the clipboard or the camera; the worker scores them.

const at = (id) => document.getElementById(id);
const settings = JSON.parse(at("settings").textContent);
const positive = settings.classes[1];
const known = settings.similarity === null ? [] : ["similarity", "unlike"];
const columns = ["path", "label", "probability", ...known, "error"]; // as catclf predict has them
const worker = new Worker(URL.createObjectURL(new Blob([at("engine").textContent])));
// What the worker answers to a task; raises Error for what it cannot do.
function ask(task, given = {}, transfer = []) {
  const { port1, port2 } = new MessageChannel();
  worker.postMessage({ ...given, task, port: port2 }, [port2, ...transfer]);
  return new Promise((done, fail) => {
    port1.onmessage = ({ data: { error, ...answer } }) =>
      error === undefined ? done(answer) : fail(new Error(error));
  });
}

worker.onerror = () => trouble("This browser is too old for this page.");
const ready = ask("start", { settings, arrays: at("arrays").textContent }).then(({ noisy }) => {
  if (noisy) trouble("This browser changes the pixels that a page reads, so that nobody is " +
    "recognised by them: scores are wrong. Allow this page to read canvas data, or try another.");
}).catch((error) => trouble(`This browser cannot run this page: ${error.message}.`));

const percent = (p) => `${(100 * p).toFixed(2)} %`;
function trouble(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = false;
}

function draw(canvas, rgba, label) {
  canvas.width = canvas.height = settings.size;
  canvas.setAttribute("aria-label", label);
  canvas.getContext("2d").putImageData(new ImageData(rgba, settings.size, settings.size), 0, 0);
}

function opaque(data) {
  const out = new Uint8ClampedArray((data.length / 3) * 4).fill(255);
  data.forEach((each, i) => (out[i + Math.floor(i / 3)] = each));
  return out;
}

// Evidence as RGBA: orange above zero, blue below, clear at zero, full at the 99th percentile of
// its strength.
function drawEvidence(evidence, name) {
  const sorted = evidence.map(Math.abs).sort(), place = 0.99 * (sorted.length - 1);
  const low = sorted[Math.floor(place)], high = sorted[Math.ceil(place)];
  const full = low + (high - low) * (place % 1), out = new Uint8ClampedArray(evidence.length * 4);
  evidence.forEach((value, i) => {
    const strength = full > 0 ? Math.min(Math.abs(value) / full, 1) : 0;
    out.set(value > 0 ? [230, 159, 0] : [0, 114, 178], i * 4);
    out[i * 4 + 3] = Math.round(255 * strength);
  });
  draw(at("map"), out, `evidence in ${name}, full colour from ±${full.toPrecision(2)} a pixel`);
  at("map").hidden = at("legend").hidden = false;
}

// The images, each {name, file, row}, and once scored {z, probability, label, notes}, or {error};
// `own` is the class that the user gave, 0 or 1.
let images = [], shown = null;
async function score(image, source, transfer) {
  const { data, evidence, ...found } = await ask("score", { source }, transfer);
  const { z, similarity, notes } = Object.assign(image, found);
  image.label = settings.classes[Number(z > settings.boundary)];
  image.probability = z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z));
  if (similarity !== undefined) image.unlike = similarity < settings.similarity;
  if (image.unlike) notes.push(`unlike the training images: similarity ${similarity.toFixed(3)}`);
  return { data, evidence };
}

const said = ({ name, label, probability, error }) =>
  error ? `${name}: ${error}` : `${name}: ${label}, P(${positive}) ${percent(probability)}`;

// Shows one image large: `data` are its pixels.
function display(image, { data, evidence }) {
  shown = image;
  at("results").hidden = false;
  const { name, label, z, probability, notes, error } = image;
  at("shown").classList.toggle("failed", Boolean(error));
  const chance = error ? "" : `P(${positive}) = ${percent(probability)}, z = ${z.toFixed(4)}`;
  const texts = { name, label: error || label, numbers: chance, notes: (notes || []).join("; ") };
  for (const [id, text] of Object.entries(texts)) at(id).textContent = text;
  at("likely").style.width = `${100 * (probability || 0)}%`;
  at("map").hidden = at("legend").hidden = true;
  if (data) draw(at("seen"), opaque(data), `${name} as the model sees it`);
  if (evidence) drawEvidence(evidence, name);
  at("explain").hidden = Boolean(error || evidence || !image.file);
  at("explain").onclick = () => occlude(image, data);
  at("labels").hidden = !image.file;
  for (const each of images) each.row.setAttribute("aria-current", each === image);
  showLabels();
}

// How much lower z is with each square covered, on its pixels; other work goes on in between.
async function occlude(image, data) {
  at("explain").hidden = true;
  const { size } = settings, evidence = new Float64Array(size * size);
  for (let square = 0, squares = 1; square < squares; square++) {
    const { z, count, box: [top, left, bottom, right] } = await ask("cover", { data, square });
    if (shown !== image) break;
    squares = count;
    const drop = (image.z - z) / ((bottom - top) * (right - left));
    for (let y = top; y < bottom; y++) evidence.fill(drop, y * size + left, y * size + right);
    drawEvidence(evidence, image.name);
    at("step").textContent = `evidence: ${square + 1} of ${squares} squares`;
  }
  at("step").textContent = "";
}

async function select(image) {
  shown = image;
  const found = image.error ? {} : await ask("look", { source: image.file });
  if (shown === image) display(image, found); // not if another was chosen meanwhile
}

// The row of an image in the table, where images are sorted by doubt.
const doubt = ({ z, error }) => (error ? Infinity : Math.abs(z - settings.boundary));
function place(image, data) {
  const { row, name, label, probability, unlike, error } = image;
  row.dataset.state = error ? "failed" : "done";
  const [thumb, title, answer, chance] = row.children;
  title.firstChild.textContent = name;
  answer.textContent = error || label + (unlike ? " (unlike the training images)" : "");
  chance.textContent = error ? "" : percent(probability);
  if (data) {
    const whole = new OffscreenCanvas(settings.size, settings.size);
    whole.getContext("2d").putImageData(new ImageData(opaque(data), settings.size), 0, 0);
    thumb.firstChild.getContext("2d").drawImage(whole, 0, 0, 96, 96);
  }
  const after = images.find((each) => each.row.isConnected && doubt(each) > doubt(image));
  at("rows").insertBefore(row, after ? after.row : null);
  images = [...at("rows").children].map((each) => each.image);
  row.onclick = () => select(image);
}

let work = ready; // one after the other, in the order in which they came
const take = (files) => files.length && (work = work.then(scoreAll.bind(null, [...files])));
async function scoreAll(files) {
  let image = shown;
  for (const [number, file] of files.entries()) {
    const follows = number === 0 || (files.length < 9 && shown === image);
    image = { file, name: file.webkitRelativePath || file.name || "pasted image" };
    image.row = at("row").content.firstElementChild.cloneNode(true);
    image.row.image = image;
    const found = await score(image, file).catch((error) => {
      image.error = error.message;
      return {};
    });
    place(image, found.data);
    if (follows) display(image, found);
    at("count").textContent = files.length > 1 ? `${number + 1} of ${files.length} images` : "";
  }
  const all = files.length > 1 ? `${files.length} images are done. The last: ` : "";
  at("answer").textContent = all + said(image);
}

// The images in the order of the table; the camera's has no row.
function step(by) {
  const next = images[images.indexOf(shown) + by];
  return next ? select(next).then(() => next.row.scrollIntoView({ block: "nearest" })) : null;
}

// Takes the user's own label, 0 or 1, or takes it back where it was given.
function give(own) {
  if (!shown || !shown.file) return;
  shown.own = shown.own === own ? undefined : own;
  const name = settings.classes[shown.own] ?? "";
  shown.row.children[4].textContent = name;
  at("answer").textContent = `${shown.name}: ${name || "no label"}`;
  showLabels();
  if (name) step(1);
}

function showLabels() {
  at("negative").setAttribute("aria-pressed", shown.own === 0);
  at("positive").setAttribute("aria-pressed", shown.own === 1);
  at("save-labels").hidden = at("beside").hidden = images.every((each) => each.own === undefined);
}

function save(name, head, rows) {
  const quoted = (each) => (/[",\r\n]/.test(each) ? `"${each.replaceAll('"', '""')}"` : each);
  const lines = [head, ...rows].map((row) => row.map(String).map(quoted).join(",") + "\n");
  const href = URL.createObjectURL(new Blob(lines, { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

let stream = null, starting = null;
async function watch() {
  const mine = stream, video = at("video"), image = { name: "camera" };
  while (stream === mine) {
    const before = image.label;
    if (video.videoWidth && (!shown || shown === image || !before)) {
      const frame = await createImageBitmap(video);
      display(image, await score(image, frame, [frame]));
      if (image.label !== before) at("answer").textContent = said(image); // not at every frame
    }
    await new Promise(requestAnimationFrame);
  }
}

async function startCamera() {
  try {
    await ready;
    if (!navigator.mediaDevices) throw new Error("it needs https, or this file opened from disk");
    setCamera(await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }));
    await at("video").play();
    await watch();
  } catch (error) {
    setCamera(null);
    trouble(`The camera cannot be used: ${error.message}.`);
  }
}

function setCamera(next) {
  for (const track of stream ? stream.getTracks() : []) track.stop();
  stream = at("video").srcObject = next;
  at("video").hidden = !next;
  at("camera").textContent = next ? "Stop the camera" : "Use the camera";
  at("camera").setAttribute("aria-pressed", Boolean(next));
}

const clicks = {
  choose: () => at("files").click(),
  camera: () => {
    if (stream) return setCamera(null);
    starting ??= startCamera().finally(() => (starting = null)); // one, however often it is clicked
  },
  previous: () => step(-1),
  next: () => step(1),
  negative: () => give(0),
  positive: () => give(1),
  "save-scores": () => save("scores.csv", columns, images.map((image) =>
    columns.map((column) => (column === "path" ? image.name : image[column]) ?? ""))),
  "save-labels": () => save("labels.csv", ["path", "label"], images.filter(
    ({ own }) => own !== undefined).map(({ name, own }) => [name, settings.classes[own]])),
  clear: () => {
    images = [], shown = null;
    at("rows").replaceChildren();
    at("results").hidden = true;
    at("choose").focus();
  },
};
for (const [id, action] of Object.entries(clicks)) at(id).addEventListener("click", action);
at("files").addEventListener("change", () => {
  take(at("files").files);
  at("files").value = ""; // so that the same file can be chosen again
});
document.addEventListener("keydown", (event) => {
  const keys = { 1: "negative", 2: "positive", ArrowLeft: "previous", ArrowRight: "next" };
  if (!shown || !keys[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
  at(keys[event.key]).click();
  event.preventDefault();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    const over = kind === "dragover" || (kind === "dragleave" && event.relatedTarget);
    document.body.classList.toggle("dragging", Boolean(over));
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => take(event.clipboardData.files));
