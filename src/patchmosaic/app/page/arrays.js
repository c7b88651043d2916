// Packed arrays, and pictures made of them. A picture is {height, width, channels, data}, its bytes in reading order: one channel is
// grey, three are red, green and blue, a fourth is how opaque they are.

const TYPES = { u1: Uint8Array, i4: Int32Array, f4: Float32Array };

/** The numbers of a packed array, with its shape. */
export function unpacked({ type, shape, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return { shape, data: new TYPES[type](bytes.buffer) };
}

/** A packed (H, W) or (H, W, 3) array as a picture. */
export function picture(packed) {
  const { shape, data } = unpacked(packed);
  return { height: shape[0], width: shape[1], channels: shape[2] ?? 1, data };
}

/** The part of a picture under a window: the pixels at `rows` and `columns`, as `covered` lists them. */
export function crop(whole, rows, columns) {
  const { width, channels } = whole;
  const data = new Uint8Array(rows.length * columns.length * channels);
  rows.forEach((row, i) =>
    columns.forEach((column, j) => {
      for (let c = 0; c < channels; c++) {
        data[(i * columns.length + j) * channels + c] = whole.data[(row * width + column) * channels + c];
      }
    }),
  );
  return { height: rows.length, width: columns.length, channels, data };
}

/** The rows (or columns) that a window round `centre` covers on a side of `side` pixels; on a torus each of them once. */
export function covered(centre, size, side, wraps) {
  const reach = Math.min(size, wraps ? side : size);
  const first = centre - Math.floor(reach / 2);
  const all = Array.from({ length: reach }, (_, i) => first + i);
  return wraps ? all.map((i) => ((i % side) + side) % side) : all.filter((i) => i >= 0 && i < side);
}

/** Paint a picture on a canvas, one canvas pixel for each of its own. */
export function paint(canvas, { height, width, channels, data }) {
  canvas.width = width;
  canvas.height = height;
  const rgba = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) rgba.data[4 * i + c] = data[i * channels + (channels === 1 ? 0 : c)];
    rgba.data[4 * i + 3] = channels === 4 ? data[4 * i + 3] : 255;
  }
  canvas.getContext("2d").putImageData(rgba, 0, 0);
  return canvas;
}

/** A new canvas with a picture; without words it is decoration. */
export function painted(pixels, words = "") {
  const canvas = paint(document.createElement("canvas"), pixels);
  if (words) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
  } else canvas.setAttribute("aria-hidden", "true");
  return canvas;
}
