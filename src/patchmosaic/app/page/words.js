// What a pixel's belief amounts to, in one plain sentence.

const GREYS = ["black", "dark grey", "grey", "light grey", "white"];
const number = new Intl.NumberFormat("en");

/** A share as people write it: 38%, 5.6%, 99.7%, < 0.1%. */
export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1%";
  const whole = (share >= 0.0995 && share < 0.9895) || share >= 0.9995 || share === 0;
  return `${(100 * share).toFixed(whole ? 0 : 1)}%`;
}

/** "1 image", "12 images". */
export const counted = (value, noun) => `${count(value)} ${noun}${count(value) === "1" ? "" : "s"}`;

export const count = (value) => number.format(value < 10 ? Math.round(10 * value) / 10 : Math.round(value));

/** A grey or colour in a word; `bytes` are one grey value or three of red, green, blue. */
export function tone(bytes) {
  const [low, high] = [Math.min(...bytes), Math.max(...bytes)];
  if (high - low > 40) return "of this colour";
  const mean = bytes.reduce((a, b) => a + b) / bytes.length;
  return GREYS[Math.min(GREYS.length - 1, Math.floor((GREYS.length * mean) / 255))];
}

/**
 * Why a pixel is what it is.
 * @param {object} pixel tone, window ("3 × 3" or null), seen (the window's bytes), sources (merged by look), effective numbers
 */
export function sentence(pixel) {
  return pixel.plain ? ofPlainPatches(pixel) : pixel.window ? ofPatches(pixel) : ofImages(pixel);
}

/** The toy: every patch is plain black or plain white, so that the window has only to say which it is nearer to. */
function ofPlainPatches({ tone, window, seen, sources }) {
  const white = sources.filter((source) => source.tone === "white").reduce((sum, source) => sum + source.weight, 0);
  const [side, other, share] = white >= 0.5 ? ["white", "black", white] : ["black", "white", 1 - white];
  const leaning = seen.filter((value) => (side === "white" ? value > 127.5 : value < 127.5)).length;
  const where = window ? `in the ${window} window it sees` : "in the whole image, which it sees";
  if (share < 0.9) {
    return `This pixel is still ${tone}: ${where} the noise hides the answer. ${percent(share)} of its belief is in ${side} ` +
      `patches, ${percent(1 - share)} in ${other} ones.`;
  }
  const why = 2 * leaning > seen.length
    ? `${leaning} of ${seen.length} pixels lean ${side}`
    : `the pixels lean ${side} on balance`;
  const belief = share > 0.9995
    ? `all of its belief is in ${side} patches`
    : `${percent(share)} of its belief is in ${side} patches, ${percent(1 - share)} in ${other} ones`;
  return `This pixel is ${tone} because ${where}, ${why}: ${belief}.`;
}

function ofPatches({ tone, window, sources, patches, images, candidates }) {
  const [first] = sources;
  const begin = `This pixel is ${tone} because`;
  if (first.weight > 0.5) {
    const found = first.count > 1 ? `${count(first.count)} patches that look alike` : `one patch, of ${first.name}`;
    return `${begin} the ${window} window it sees looks most like ${found}: ${percent(first.weight)} of its belief is there.`;
  }
  if (patches < 30) {
    return `${begin} the ${window} window it sees looks like about ${count(patches)} patches of ${counted(images, "training image")}, ` +
      `and it takes their mean. The likeliest, with ${percent(first.weight)}, is of ${first.name}.`;
  }
  return `${begin} the ${window} window it sees looks like about ${count(patches)} of the ${count(candidates)} patches it may match, ` +
    "and it takes their mean.";
}

function ofImages({ tone, sources, images, candidates }) {
  const [first] = sources;
  const begin = `This pixel is ${tone} because`;
  if (first.weight > 0.5) {
    return `${begin} the whole image, which it sees, looks most like ${first.name}: ${percent(first.weight)} of the belief is there.`;
  }
  return `${begin} the whole image, which it sees, may still become about ${count(images)} of ${count(candidates)} candidates, ` +
    `and it takes their mean. The likeliest, with ${percent(first.weight)}, is ${first.name}.`;
}
