// The model: z = b + Σ w x, with x pixels / 255, or the strengths of learned patches.

// Numbers in base64, least byte first.
function numbers(text, Type) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Type(bytes.buffer);
}

// A prediction is {z, map()}: map() gives, after a while, the evidence of each pixel.
class PixelModel {
  constructor({ b, w }) {
    this.b = b;
    this.w = numbers(w, Float64Array).map((each) => each / 255);
  }

  predict({ data }) {
    const evidence = new Float64Array(data.length / 3);
    for (let i = 0; i < evidence.length; i++) {
      for (let c = 0; c < 3; c++) evidence[i] += this.w[3 * i + c] * data[3 * i + c];
    }
    const z = evidence.reduce((sum, each) => sum + each, this.b);
    return { z, map: async () => evidence };
  }
}

// A. Coates, H. Lee and A. Ng, AISTATS 2011: each patch p is compared with filters F,
// z = Fᵀ p / sqrt(variance + ε) - c; max(±z - t, 0) is added up over regions that overlap.
class PatchScale {
  constructor(size, recipe, [factor, stride], filters, offsets) {
    Object.assign(this, recipe, { size, factor, stride });
    this.side = Math.floor(size / factor);
    this.margin = Math.floor((size - this.side * factor) / 2);
    this.steps = Math.floor((this.side - this.patch) / stride) + 1;
    this.half = this.atoms / 2;
    this.offsets = offsets;
    this.filters = this.withMirrored(filters);
    this.tents = this.regionWeights();
  }

  // The filters (d, K/2), and beside each the one with left and right exchanged: (d, K).
  withMirrored(filters) {
    const { patch, half, atoms } = this;
    const both = new Float32Array(filters.length * 2);
    for (let row = 0, j = 0; row < patch; row++) {
      for (let column = 0; column < patch; column++) {
        for (let c = 0; c < 3; c++, j++) {
          const other = (row * patch + patch - 1 - column) * 3 + c;
          both.set(filters.subarray(j * half, (j + 1) * half), j * atoms);
          both.set(filters.subarray(other * half, (other + 1) * half), j * atoms + half);
        }
      }
    }
    return both;
  }

  // The weight of each step in each region along a side: 1 in its middle, 0 in the next ones'.
  regionWeights() {
    const { steps, grid } = this;
    return Array.from({ length: grid }, (_, region) => {
      const middle = ((region + 0.5) * steps) / grid;
      const weights = Array.from({ length: steps }, (_, step) =>
        Math.max(1 - (Math.abs(step + 0.5 - middle) * grid) / steps, 0));
      const sum = weights.reduce((a, b) => a + b);
      return weights.map((each) => Math.fround(each / sum));
    });
  }

  // Means of squares of pixels, less 128.
  reduce(data) {
    const { size, side, factor, margin } = this;
    const out = new Float32Array(side * side * 3);
    for (let y = 0, o = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        for (let c = 0; c < 3; c++, o++) {
          let sum = 0;
          for (let i = 0; i < factor; i++) {
            const row = (margin + y * factor + i) * size + margin + x * factor;
            for (let j = 0; j < factor; j++) sum += data[(row + j) * 3 + c];
          }
          out[o] = sum / factor ** 2 - 128;
        }
      }
    }
    return out;
  }

  // z of the patch at a step (row, column), into `z` (K,).
  compare(reduced, row, column, z) {
    const { patch, side, stride, half, atoms, filters, offsets } = this;
    const count = patch ** 2 * 3;
    let [sum, squares, j] = [0, 0, 0];
    z.fill(0);
    for (let y = 0; y < patch; y++) {
      let at = ((row * stride + y) * side + column * stride) * 3;
      for (let x = 0; x < patch * 3; x++, at++, j++) {
        const value = reduced[at];
        sum += value;
        squares += value * value;
        for (let k = 0, f = j * atoms; k < atoms; k++, f++) z[k] += value * filters[f];
      }
    }
    const mean = sum / count;
    const variance = Math.max(squares / count - mean * mean, 0);
    const factor = 1 / Math.sqrt(variance + this.epsilon);
    for (let k = 0; k < atoms; k++) z[k] = z[k] * factor - offsets[k % half];
  }

  // Adds what a patch speaks with `z` to the regions, `pooled` (grid, grid, 2, K); sign -1 takes it.
  pool(pooled, row, column, z, sign) {
    const { grid, atoms, tents, threshold } = this;
    for (let i = 0; i < grid; i++) {
      for (let j = 0; j < grid; j++) {
        const weight = sign * tents[i][row] * tents[j][column];
        if (weight === 0) continue;
        const at = (i * grid + j) * 2 * atoms;
        for (let k = 0; k < atoms; k++) {
          if (z[k] > threshold) pooled[at + k] += weight * (z[k] - threshold);
          else if (-z[k] > threshold) pooled[at + atoms + k] += weight * (-z[k] - threshold);
        }
      }
    }
  }

  // The regions of an image, and z of every patch, from which those of a changed image are made.
  encode(data) {
    const { steps, atoms, grid } = this;
    const reduced = this.reduce(data);
    const Z = new Float64Array(steps * steps * atoms);
    const pooled = new Float64Array(grid * grid * 2 * atoms);
    for (let row = 0, at = 0; row < steps; row++) {
      for (let column = 0; column < steps; column++, at += atoms) {
        const z = Z.subarray(at, at + atoms);
        this.compare(reduced, row, column, z);
        this.pool(pooled, row, column, z, 1);
      }
    }
    return { Z, pooled };
  }

  // The regions after pixels from (top, left) to (bottom, right) have changed to those in `data`.
  changed({ Z, pooled }, data, [top, left, bottom, right]) {
    const { steps, atoms, factor, margin, patch, stride } = this;
    const reduced = this.reduce(data);
    const span = (start, stop) => [
      Math.max(0, Math.floor((Math.floor((start - margin) / factor) - patch) / stride)),
      Math.min(steps - 1, Math.floor(Math.floor((stop - 1 - margin) / factor) / stride)),
    ];
    const [[firstRow, lastRow], [first, last]] = [span(top, bottom), span(left, right)];
    const now = pooled.slice();
    const z = new Float64Array(atoms);
    for (let row = firstRow; row <= lastRow; row++) {
      for (let column = first; column <= last; column++) {
        const at = (row * steps + column) * atoms;
        this.pool(now, row, column, Z.subarray(at, at + atoms), -1);
        this.compare(reduced, row, column, z);
        this.pool(now, row, column, z, 1);
      }
    }
    return now;
  }

  // The numbers of this scale: regions, signs, atoms; with `flip` the mean with the mirror image.
  row(pooled) {
    const { grid, atoms, half, flip } = this;
    if (!flip) return pooled.map((each) => Math.sqrt(Math.max(each, 0)));
    const out = new Float64Array(pooled.length / 2);
    for (let i = 0, o = 0; i < grid; i++) {
      for (let j = 0; j < grid; j++) {
        for (let sign = 0; sign < 2; sign++) {
          const here = ((i * grid + j) * 2 + sign) * atoms;
          const there = ((i * grid + grid - 1 - j) * 2 + sign) * atoms + half;
          for (let k = 0; k < half; k++, o++) {
            out[o] = Math.sqrt(Math.max((pooled[here + k] + pooled[there + k]) / 2, 0));
          }
        }
      }
    }
    return out;
  }
}

class PatchModel {
  constructor({ b, w, size, recipe, filters, offsets }) {
    Object.assign(this, { b, size, w: numbers(w, Float64Array) });
    const [F, C] = [numbers(filters, Float32Array), numbers(offsets, Float32Array)];
    const part = (array, i) => {
      const each = array.length / recipe.scales.length;
      return array.subarray(i * each, (i + 1) * each);
    };
    this.scales = recipe.scales.map(
      (scale, i) => new PatchScale(size, recipe, scale, part(F, i), part(C, i)));
  }

  // z of what the scales have pooled; the row has the length of the root of its numbers.
  score(pooled) {
    let [sum, squares, i] = [0, 0, 0];
    this.scales.forEach((scale, s) => {
      for (const x of scale.row(pooled[s])) {
        sum += this.w[i++] * x;
        squares += x * x;
      }
    });
    return this.b + (sum * Math.sqrt(this.w.length)) / Math.max(Math.sqrt(squares), 1e-6);
  }

  predict({ data }) {
    const states = this.scales.map((scale) => scale.encode(data));
    const z = this.score(states.map(({ pooled }) => pooled));
    return { z, map: () => this.occlude(data, states, z) };
  }

  // How much lower z is when a square is covered with the image's mean colour, on its pixels.
  async occlude(data, states, z) {
    const { size, scales } = this;
    const squares = Math.min(8, size);
    const edges = Array.from({ length: squares + 1 }, (_, i) => rounded((i * size) / squares));
    const mean = [0, 1, 2].map((c) => {
      let sum = 0;
      for (let i = c; i < data.length; i += 3) sum += data[i];
      return rounded(sum / size ** 2);
    });
    const evidence = new Float64Array(size * size);
    for (let i = 0; i < squares; i++) {
      for (let j = 0; j < squares; j++) {
        const [top, left, bottom, right] = [edges[i], edges[j], edges[i + 1], edges[j + 1]];
        const covered = data.slice();
        for (let y = top; y < bottom; y++) {
          for (let x = left; x < right; x++) covered.set(mean, (y * size + x) * 3);
        }
        const box = [top, left, bottom, right];
        const drop = z - this.score(scales.map((scale, s) => scale.changed(states[s], covered, box)));
        const each = drop / ((bottom - top) * (right - left));
        for (let y = top; y < bottom; y++) evidence.fill(each, y * size + left, y * size + right);
      }
      await new Promise((done) => setTimeout(done)); // the page goes on answering
    }
    return evidence;
  }
}

const MODELS = { pixels: PixelModel, patches: PatchModel };

function sigmoid(z) {
  return z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z));
}

// Evidence as RGBA: orange above zero, blue below, clear at zero, full at the 99th percentile of
// its strength.
function colours(evidence) {
  const sorted = evidence.map(Math.abs).sort();
  const place = 0.99 * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  const full = low + (high - low) * (place % 1);
  const out = new Uint8ClampedArray(evidence.length * 4);
  evidence.forEach((value, i) => {
    const strength = full > 0 ? Math.min(Math.abs(value) / full, 1) : 0;
    out.set(value > 0 ? [230, 159, 0] : [0, 114, 178], i * 4);
    out[i * 4 + 3] = Math.round(255 * strength);
  });
  return { rgba: out, full };
}
