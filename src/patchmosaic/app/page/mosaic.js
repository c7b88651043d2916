// The mosaic: which training image each pixel's likeliest patch is of, the stronger the colour the more of its belief is there. The
// commonest images get colours, told apart by the colour-blind too (Okabe & Ito); all others share one grey.
import { painted } from "explorer/arrays";
import { counted, percent } from "explorer/words";

const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];
const OTHER = "#8b8b8b";
const STRONGEST = 0.75; // how opaque a colour may be: the drawing shows through

/** The likeliest image of every pixel, the belief in it, and the images by how much belief they have in all. */
export function mosaic(provenance) {
  const [height, width, top] = provenance.image.shape;
  const pixels = Array.from({ length: height * width }, (_, i) => ({
    image: provenance.image.data[i * top],
    weight: provenance.weight.data[i * top],
  }));
  const shares = new Map();
  for (const { image, weight } of pixels) shares.set(image, (shares.get(image) ?? 0) + weight / pixels.length);
  const ranked = [...shares].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const named = ranked.slice(0, COLOURS.length).map(([image, share], i) => ({ image, share, colour: COLOURS[i] }));
  const colours = new Map(named.map(({ image, colour }) => [image, colour]));
  const data = new Uint8Array(4 * pixels.length);
  pixels.forEach(({ image, weight }, i) => data.set([...bytes(colours.get(image) ?? OTHER), 255 * STRONGEST * weight], 4 * i));
  return {
    tint: { height, width, channels: 4, data },
    named,
    others: ranked.slice(COLOURS.length).reduce((sum, [, share]) => sum + share, 0),
    images: ranked.length,
  };
}

const bytes = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));

/** The legend: colour, picture, name and share of each coloured image. */
export async function legend(place, { named, others, images }, { pieces, settled_images, settled_share }, images_of, name, stale) {
  const pictures = await images_of(named.map(({ image }) => image));
  if (stale()) return;
  const entry = (colour, ...parts) => {
    const item = document.createElement("li");
    item.style.setProperty("--colour", colour);
    item.append(...parts);
    return item;
  };
  const list = document.createElement("ul");
  list.className = "legend";
  for (const { image, colour, share } of named) {
    const words = document.createElement("span");
    words.textContent = `${name(image)}: ${percent(share)}`;
    list.append(entry(colour, painted(pictures.get(image).picture), words));
  }
  if (images > named.length) list.append(entry(OTHER, `${counted(images - named.length, "other image")}: ${percent(others)}`));
  const summary = document.createElement("p");
  summary.className = "quiet";
  summary.textContent = `${counted(pieces, "piece")} of ${counted(settled_images, "training image")} make ${percent(settled_share)} of the ` +
    "pixels: those of which one source has more than half of the belief. The stronger a colour, the more it has; lines are the edges of the pieces.";
  place.replaceChildren(list, summary);
}
