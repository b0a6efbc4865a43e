"use strict";
// Images as catclf resizes them: Pillow's bicubic resampling in whole numbers, so that each pixel
// is the same. An image is {width, height, data}: 3 bytes a pixel, rows from the top.

const PRECISION = 22; // bits after the point of a coefficient: 32 less 8 of a pixel and 2 to spare
function bicubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

// For each of `count` places along a side, the first pixel and the coefficients of those from it
// on. The span from `start` to `stop` is seen; single precision is where Pillow has it.
function coefficients(length, start, stop, count) {
  start = Math.fround(start);
  const scale = Math.fround(Math.fround(stop) - start) / count, stretch = Math.max(scale, 1);
  return Array.from({ length: count }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - 2 * stretch + 0.5), 0);
    const end = Math.min(Math.trunc(centre + 2 * stretch + 0.5), length);
    const exact = Array.from({ length: end - first }, (_, x) =>
      bicubic((first + x - centre + 0.5) * (1 / stretch)));
    const sum = exact.reduce((a, b) => a + b, 0) || 1;
    const whole = exact.map((w) => (w / sum) * 2 ** PRECISION);
    return { first, whole: whole.map((w) => Math.trunc(w < 0 ? w - 0.5 : w + 0.5)) };
  });
}

// One pass: each pixel from those beside it in its row (`across`), or else in its column.
function pass({ width, height, data }, across, places) {
  const [columns, rows] = across ? [places.length, height] : [width, places.length];
  const out = new Uint8Array(columns * rows * 3);
  const step = across ? 3 : width * 3, half = 2 ** (PRECISION - 1);
  for (let y = 0, o = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, o += 3) {
      const { first, whole } = places[across ? x : y];
      const from = across ? (y * width + first) * 3 : (first * width + x) * 3;
      for (let c = 0; c < 3; c++) {
        let sum = half;
        for (let i = 0; i < whole.length; i++) sum += data[from + c + i * step] * whole[i];
        out[o + c] = Math.min(Math.max(Math.floor(sum / 2 ** PRECISION), 0), 255);
      }
    }
  }
  return { width: columns, height: rows, data: out };
}

// The part `box` (left, top, right, bottom) of an image at width x height: a pass along rows, then
// one along columns. Newer Pillow begins with columns where these shrink more than twice as much.
function resampled(image, width, height, [left, top, right, bottom], columnsFirst) {
  const sameWidth = width === image.width && left === 0 && right === width;
  const sameHeight = height === image.height && top === 0 && bottom === height;
  const alongRows = (each) =>
    sameWidth ? each : pass(each, true, coefficients(image.width, left, right, width));
  const alongColumns = (each) =>
    sameHeight ? each : pass(each, false, coefficients(image.height, top, bottom, height));
  const less = image.height - height;
  return columnsFirst && less > 0 && less > 2 * (image.width - width)
    ? alongRows(alongColumns(image))
    : alongColumns(alongRows(image));
}

// Means of blocks of pixels, which at the right and at the bottom may be smaller.
function reduced(image, across, down) {
  const width = Math.ceil(image.width / across), height = Math.ceil(image.height / down);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const rows = Math.min(down, image.height - y * down);
    for (let x = 0; x < width; x++) {
      const columns = Math.min(across, image.width - x * across);
      const factor = Math.trunc(Math.fround(2 ** 24 / (rows * columns)));
      for (let c = 0; c < 3; c++) {
        let sum = (rows * columns) >> 1;
        for (let i = 0; i < rows; i++) {
          let at = ((y * down + i) * image.width + x * across) * 3 + c;
          for (let j = 0; j < columns; j++, at += 3) sum += image.data[at];
        }
        data[(y * width + x) * 3 + c] = Math.floor((sum * factor) / 2 ** 24);
      }
    }
  }
  return { width, height, data };
}

// The whole image at width x height: first by means of blocks where it is far larger.
function resized(image, width, height, columnsFirst) {
  const across = Math.floor(image.width / width / 3) || 1;
  const down = Math.floor(image.height / height / 3) || 1;
  const box = [0, 0, image.width / across, image.height / down];
  const small = across > 1 || down > 1 ? reduced(image, across, down) : image;
  return resampled(small, width, height, box, columnsFirst);
}

// To the nearest whole number, of two to the even one.
function rounded(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 ? near - 1 : near;
}

// The image at size x size: squashed, cut to the square in its middle, or on a background.
function fitted(image, { size, fit, background, columnsFirst }) {
  const { width, height } = image;
  if (fit === "squash") return resized(image, size, size, columnsFirst);
  if (fit === "crop") {
    const side = Math.min(width, height), left = (width - side) / 2, top = (height - side) / 2;
    return resampled(image, size, size, [left, top, left + side, top + side], columnsFirst);
  }
  const [w, h] = [width, height].map((side) =>
    Math.max(1, rounded((side / Math.max(width, height)) * size)));
  const inner = resized(image, w, h, columnsFirst);
  const data = new Uint8Array(size * size * 3).map((_, i) => background[i % 3]);
  const [left, top] = [rounded((size - w) / 2), rounded((size - h) / 2)];
  for (let y = 0; y < h; y++) {
    data.set(inner.data.subarray(y * w * 3, (y + 1) * w * 3), ((top + y) * size + left) * 3);
  }
  return { width: size, height: size, data };
}

// A JPEG as the decoder of catclf gives it: at 1/2, 1/4 or 1/8 where that is still large enough.
function drafted(image, size) {
  const scale = Math.min(image.width, image.height) / size;
  const factor = [8, 4, 2].find((each) => scale >= each);
  return factor ? reduced(image, factor, factor) : image;
}

// Pixels of a canvas (4 bytes each) over the background, where they are transparent.
function flattened({ width, height, data }, background) {
  const out = new Uint8Array(width * height * 3);
  let [clear, empty] = [false, true]; // partly transparent; nothing there
  for (let i = 0, o = 0; i < data.length; i += 4, o += 3) {
    const alpha = data[i + 3];
    clear ||= alpha > 0 && alpha < 255;
    empty &&= alpha === 0;
    for (let c = 0; c < 3; c++) {
      out[o + c] = Math.round((data[i + c] * alpha + background[c] * (255 - alpha)) / 255);
    }
  }
  return { image: { width, height, data: out }, clear, empty };
}
