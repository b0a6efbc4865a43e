// The pretrained network: convolutions over maps of numbers, as catclf/features/network has them.
// A map of `inner` x `inner` pixels is one plane for each channel, one plane after the other.

// Places, and zeros before the first, of TensorFlow's padding SAME.
function samePadding(length, { kernel, stride }) {
  const outputs = Math.ceil(length / stride);
  return [outputs, Math.max((outputs - 1) * stride + kernel - length, 0) >> 1];
}

const BLOCK = 64; // pixels whose numbers are laid side by side, so that they stay in the cache
// out = W x for each pixel: `weights` (outputs, inputs), planes `x` (inputs, count).
function products(weights, x, inputs, outputs, count, out) {
  const near = new Float32Array(BLOCK * inputs); // each pixel's numbers side by side
  for (let first = 0; first < count; first += BLOCK) {
    const pixels = Math.min(BLOCK, count - first);
    for (let i = 0; i < inputs; i++) {
      for (let p = 0; p < pixels; p++) near[p * inputs + i] = x[i * count + first + p];
    }
    for (let o = 0; o < outputs; o += 4) {
      const w0 = o * inputs, w1 = w0 + inputs, w2 = w1 + inputs, w3 = w2 + inputs;
      for (let p = 0; p < pixels; p += 2) { // two pixels by four outputs stay in registers
        const x0 = p * inputs, x1 = x0 + inputs;
        let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
        for (let i = 0; i < inputs; i++) {
          const u = near[x0 + i], v = near[x1 + i];
          const q = weights[w0 + i], r = weights[w1 + i], s = weights[w2 + i], t = weights[w3 + i];
          a += u * q, b += u * r, c += u * s, d += u * t;
          e += v * q, f += v * r, g += v * s, h += v * t;
        }
        const at = o * count + first + p;
        out[at] = a, out[at + count] = b, out[at + 2 * count] = c, out[at + 3 * count] = d;
        if (p + 1 === pixels) continue;
        const next = at + 1;
        out[next] = e, out[next + count] = f, out[next + 2 * count] = g, out[next + 3 * count] = h;
      }
    }
  }
}

// Sums over the windows of each channel by itself: `weights` (kernel, kernel, channels).
function windowSums(weights, x, layer, inner, outer, out) {
  const { kernel, stride, outputs: channels } = layer, w = new Float32Array(kernel * kernel);
  const before = samePadding(inner, layer)[1], width = inner + kernel;
  const around = new Float32Array(width * width); // a plane with zeros at its sides
  for (let c = 0; c < channels; c++) {
    for (let k = 0; k < w.length; k++) w[k] = weights[k * channels + c];
    for (let y = 0; y < inner; y++) {
      const from = (c * inner + y) * inner, to = (y + before) * width + before;
      for (let column = 0; column < inner; column++) around[to + column] = x[from + column];
    }
    for (let y = 0, at = c * outer * outer; y < outer; y++) {
      for (let column = 0; column < outer; column++, at++) {
        let sum = 0;
        for (let i = 0, k = 0; i < kernel; i++, k += kernel) {
          const a = (y * stride + i) * width + column * stride;
          sum += around[a] * w[k] + around[a + 1] * w[k + 1] + around[a + 2] * w[k + 2];
          if (kernel === 5) sum += around[a + 3] * w[k + 3] + around[a + 4] * w[k + 4];
        }
        out[at] = sum;
      }
    }
  }
}

// Adds each channel's bias, and keeps results between 0 and 6, or adds the block's input.
function finish(out, biases, count, { relu6, residual }, entry) {
  for (let c = 0, at = 0; c < biases.length; c++) {
    for (const end = at + count; at < end; at++) {
      const value = out[at] + biases[c];
      if (relu6) out[at] = value < 0 ? 0 : value > 6 ? 6 : value;
      else out[at] = residual ? value + entry[at] : value;
    }
  }
}

// The first convolution's windows of an image of numbers from 0 to 255, as planes.
function stemWindows(pixels, side, layer, [centre, scale]) {
  const { kernel, stride } = layer, [outer, before] = samePadding(side, layer);
  const planes = new Float32Array(kernel * kernel * 3 * outer * outer);
  for (let plane = 0, at = 0; plane < kernel * kernel * 3; plane++) {
    const c = plane % 3, j = Math.floor(plane / 3) % kernel, i = Math.floor(plane / 3 / kernel);
    for (let y = 0; y < outer; y++) {
      for (let x = 0; x < outer; x++, at++) {
        const row = y * stride + i - before, column = x * stride + j - before;
        const inside = row >= 0 && row < side && column >= 0 && column < side;
        if (inside) planes[at] = (pixels[(row * side + column) * 3 + c] - centre) / scale;
      }
    }
  }
  return planes;
}

// For each pixel of a line of `side`, the pixels of a line of `size` that it is made of, each with
// its weight (R. Keys, 1981).
function resampling(size, side) {
  const scale = size / side, wide = Math.max(scale, 1);
  return Array.from({ length: side }, (_, place) => {
    const weights = Array.from({ length: size }, (_, i) =>
      bicubic((i + 0.5 - (place + 0.5) * scale) / wide));
    const sum = weights.reduce((a, b) => a + b);
    return weights.map((each, i) => [i, each / sum]).filter(([, weight]) => weight);
  });
}

// An image (size, size, 3) as (side, side, 3), numbers from 0 to 255 that are not rounded.
function brought(data, size, side, taps) {
  if (size === side) return data;
  const line = size * 3, down = new Float32Array(side * line);
  const out = new Float32Array(side * side * 3);
  for (let y = 0, at = 0; y < side; y++) {
    for (const [i, weight] of taps[y]) {
      for (let k = 0; k < line; k++) down[y * line + k] += weight * data[i * line + k];
    }
    for (let x = 0; x < side; x++) {
      for (let c = 0; c < 3; c++, at++) {
        let sum = 0;
        for (const [i, weight] of taps[x]) sum += weight * down[y * line + i * 3 + c];
        out[at] = Math.min(Math.max(sum, 0), 255);
      }
    }
  }
  return out;
}

class Network {
  // `layers` are the model's convolutions in the order in which an image passes through them.
  constructor({ layers, side, size, pixel, flip }, { weights: values, scales, biases }) {
    Object.assign(this, { side, size, pixel, flip, taps: resampling(size, side) });
    let at = 0, channel = 0, inner = side;
    this.layers = layers.map((layer) => {
      const { kernel, inputs, outputs, depthwise } = layer;
      const rows = depthwise ? kernel * kernel : kernel * kernel * inputs;
      const [outer] = samePadding(inner, layer), weights = new Float32Array(rows * outputs);
      for (let row = 0; row < rows; row++) {
        for (let o = 0; o < outputs; o++, at++) {
          const place = depthwise ? row * outputs + o : o * rows + row;
          weights[place] = values[at] * scales[channel + o];
        }
      }
      const made = { ...layer, rows, weights, inner, outer,
        biases: biases.subarray(channel, channel + outputs),
        out: new Float32Array(outputs * outer * outer) };
      channel += outputs, inner = outer;
      return made;
    });
  }

  // The means of the last convolution's channels.
  means(pixels) {
    let x = stemWindows(pixels, this.side, this.layers[0], this.pixel), entry = x;
    for (const layer of this.layers) {
      const { depthwise, relu6, rows, inner, outer, weights, biases, outputs, out } = layer;
      if (depthwise) windowSums(weights, x, layer, inner, outer, out);
      else products(weights, x, rows, outputs, outer * outer, out);
      finish(out, biases, outer * outer, layer, entry);
      x = out;
      if (!depthwise && !relu6) entry = out; // the next block begins with it
    }
    const { outputs, outer } = this.layers.at(-1), count = outer * outer;
    return Float64Array.from({ length: outputs }, (_, c) =>
      x.subarray(c * count, (c + 1) * count).reduce((a, b) => a + b, 0) / count);
  }

  // The row of features of an image: roots of the means, at the length of the root of their number.
  row(data) {
    const pixels = brought(data, this.size, this.side, this.taps);
    let means = this.means(pixels);
    if (this.flip) {
      const across = (i) => this.side - 1 - 2 * (Math.floor(i / 3) % this.side);
      const other = this.means(pixels.map((_, i) => pixels[i + 3 * across(i)]));
      means = means.map((each, i) => (each + other[i]) / 2);
    }
    const length = Math.max(Math.sqrt(means.reduce((a, b) => a + b, 0)), 1e-6);
    return means.map((each) => (Math.sqrt(each) * Math.sqrt(means.length)) / length);
  }
}
