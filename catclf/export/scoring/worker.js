// The worker: an image file or a camera's frame to pixels as catclf has them, and to its score.
// A task comes with a port, to which its answer goes, or {error}.

const PIXELS_MAX = 100e6;
const CANVAS_MAX = 16e6; // pixels: some browsers leave a larger canvas empty
const TYPES = { f8: Float64Array, f4: Float32Array, i1: Int8Array };
let settings, arrays, network;
function start(given) {
  settings = given.settings;
  arrays = JSON.parse(given.arrays);
  for (const [name, [type, base64]] of Object.entries(arrays)) { // least byte first
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    arrays[name] = new TYPES[type](bytes.buffer);
  }
  if (settings.network) network = new Network({ ...settings.network, ...settings }, arrays);
  return { noisy: noisy() };
}

// Whether this browser changes what is read from a canvas, against being recognised by it.
function noisy() {
  const pixels = new ImageData(32, 32);
  pixels.data.forEach((_, i) => (pixels.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256));
  const context = new OffscreenCanvas(32, 32).getContext("2d", { willReadFrequently: true });
  context.putImageData(pixels, 0, 0);
  return context.getImageData(0, 0, 32, 32).data.some((each, i) => each !== pixels.data[i]);
}

async function kindOf(source) {
  if (!(source instanceof Blob)) return "frame";
  const bytes = new Uint8Array(await source.slice(0, 21).arrayBuffer());
  const text = String.fromCharCode(...bytes);
  if (text.startsWith("\xff\xd8\xff")) return "jpeg";
  // RIFF, its length, WEBP, VP8X, its length, and flags, of which 8 is EXIF.
  if (text.slice(8, 16) === "WEBPVP8X" && bytes[20] & 8) return "turned webp";
  return /^ftyp(hei|hev|mif1|msf1)/.test(text.slice(4)) ? "heic" : "other";
}

// The pixels of an image as the model takes them, with notes on what may differ.
async function prepare(source) {
  const kind = await kindOf(source);
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(source, options).catch(() => {
    throw new Error(kind === "heic"
      ? "is a HEIC photo, which this browser does not read (Safari does): save it as JPEG"
      : "is no image that this browser reads");
  });
  const { width, height } = bitmap;
  if (width * height > PIXELS_MAX) throw new Error(`has too many pixels: ${width}x${height}`);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const all = flattened(context.getImageData(0, 0, width, height), settings.background);
  if (all.empty && width * height > CANVAS_MAX) throw new Error("is too large for this browser");
  const image = kind === "jpeg" ? drafted(all.image, settings.size) : all.image;
  const notes = [
    all.clear && "partly transparent: the browser may round its colours",
    image !== all.image && "a large JPEG: catclf may see slightly other pixels",
    kind === "turned webp" && "WebP with EXIF data: some browsers do not turn it as they say",
  ];
  return { data: fitted(image, settings).data, notes: notes.filter(Boolean) };
}

// How like a row is to training rows: the greatest cosine with a centre, their mean taken away.
const dot = (a, b) => a.reduce((sum, each, i) => sum + each * b[i], 0);
function similarityOf(row) {
  const { centers, center_mean: mean } = arrays, n = row.length;
  const x = row.map((each, i) => each - mean[i]);
  const cosines = Array.from({ length: centers.length / n }, (_, k) => {
    const centre = centers.subarray(k * n, (k + 1) * n);
    return dot(centre, x) / Math.max(Math.sqrt(dot(centre, centre) * dot(x, x)), 1e-12);
  });
  return Math.max(...cosines);
}

// {z, similarity} or {z, evidence}: only pixels, divided by 255, have evidence of their own.
function scored(data) {
  if (network) {
    const row = network.row(data), z = settings.b + dot(arrays.w, row);
    return { z, similarity: arrays.centers && similarityOf(row) };
  }
  const parts = arrays.w.map((each, i) => (each / 255) * data[i]);
  const evidence = new Float64Array(data.length / 3).map((_, i) =>
    parts[3 * i] + parts[3 * i + 1] + parts[3 * i + 2]);
  return { z: parts.reduce((sum, each) => sum + each, settings.b), evidence };
}

// z with one square of a division of the image covered with its mean colour.
function covered({ data, square }) {
  const { size } = settings, squares = Math.min(8, size); // along each side
  const edge = (i) => rounded((i * size) / squares);
  const row = Math.floor(square / squares), column = square % squares, sums = [0, 0, 0];
  const [top, left, bottom, right] = [edge(row), edge(column), edge(row + 1), edge(column + 1)];
  data.forEach((each, i) => (sums[i % 3] += each));
  const mean = sums.map((sum) => rounded(sum / size ** 2)), changed = data.slice();
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) changed.set(mean, (y * size + x) * 3);
  }
  return { z: scored(changed).z, box: [top, left, bottom, right], count: squares ** 2 };
}

const TASKS = {
  start,
  look: async ({ source }) => {
    const { data } = await prepare(source);
    return { data, ...(network ? {} : scored(data)) };
  },
  cover: covered,
  score: async ({ source }) => {
    const { data, notes } = await prepare(source);
    const began = performance.now();
    return { data, notes, ...scored(data), milliseconds: performance.now() - began };
  },
};

onmessage = async ({ data: { task, port, ...given } }) => {
  try {
    port.postMessage(await TASKS[task](given));
  } catch (error) {
    port.postMessage({ error: error.message });
  }
};
