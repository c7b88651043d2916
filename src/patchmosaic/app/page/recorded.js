// The client that needs no server: the answers lie in the page itself, compressed.
import { spelled } from "explorer/query";

const recording = JSON.parse(document.getElementById("recording").textContent);
let images = null;

export const client = {
  recorded: true,

  /** The messages that answer a question, if it was recorded. */
  async *ask(kind, { first, ...fields }, signal) {
    if (kind === "choices") yield { choices: recording.choices };
    else if (kind === "facts") yield { facts: recording.facts };
    else if (kind === "images") yield { images: await chosen(fields.at) };
    else yield* replayed(`${kind}?${spelled(fields)}`, signal);
  },
};

async function* replayed(key, signal) {
  const packed = recording.answers[key];
  if (!packed) throw new Error("This was not recorded in this file. `patchmosaic explore` without --export draws anything.");
  for (const message of await unzipped(packed)) {
    if (signal?.aborted) return;
    yield message;
  }
}

async function chosen(at) {
  images ??= unzipped(recording.images).then(([message]) => new Map(message.images.map((image) => [image.position, image])));
  const known = await images;
  return at.split(",").map((position) => known.get(Number(position)));
}

async function unzipped(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const lines = (await new Response(stream).text()).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line));
}
