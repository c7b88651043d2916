// The panel that says why a pixel is what it is: a sentence, what it sees, where its value comes from, and its doubt through time.
import { covered, crop, painted } from "explorer/arrays";
import { line } from "explorer/chart";
import { outlines, svg } from "explorer/svg";
import { count, counted, percent, sentence, tone } from "explorer/words";

const [FEWEST, MOST] = [3, 6]; // sources that are shown as pictures
const [LEAST, NOTHING] = [0.01, 0.0005]; // the belief that is worth showing beyond the first few, and that is not even there

/** What a provenance says of one pixel. */
export function beliefOf(provenance, row, column) {
  const [, width, top] = provenance.image.shape;
  const at = row * width + column;
  const sources = [];
  for (let k = at * top; k < (at + 1) * top; k++) {
    if (provenance.image.data[k] < 0) break;
    sources.push({
      image: provenance.image.data[k],
      row: provenance.row.data[k],
      column: provenance.column.data[k],
      weight: provenance.weight.data[k],
      count: provenance.count.data[k],
    });
  }
  const value = (name) => provenance[name].data[at];
  return {
    sources,
    entropy: value("entropy"),
    share: value("entropy_share"),
    candidates: value("candidates"),
    patches: value("effective_patches"),
    images: value("effective_images"),
  };
}

/** Sources that look the same are one: their weights add up. Each with its patch, cut from its image, where it can without a seam. */
function byLook(sources, pictures, { size, wraps }, name) {
  const looks = new Map();
  for (const source of sources) {
    const { picture } = pictures.get(source.image);
    const rows = size ? covered(source.row, size, picture.height, wraps) : [...Array(picture.height).keys()];
    const columns = size ? covered(source.column, size, picture.width, wraps) : [...Array(picture.width).keys()];
    const patch = crop(picture, rows, columns);
    const look = `${patch.height}x${patch.width}:${patch.data}`;
    const known = looks.get(look);
    const centre = crop(picture, [source.row], [source.column]).data;
    const found = { ...source, rows, columns, patch, picture, name: name(source.image), tone: tone(centre) };
    if (known) {
      const shown = outlines(rows, columns).length < outlines(known.rows, known.columns).length ? found : known;
      looks.set(look, { ...shown, weight: known.weight + source.weight, count: known.count + source.count });
    } else looks.set(look, found);
  }
  return [...looks.values()].sort((a, b) => b.weight - a.weight);
}

export class Why {
  constructor(images_of, name) {
    this.images_of = images_of;
    this.name = name;
    const found = (id) => document.getElementById(id);
    this.place = found("place");
    this.sentence = found("sentence");
    this.window = found("window");
    this.heading = found("sources-title");
    this.list = found("sources");
    this.charts = found("charts");
  }

  /** Only words: while there is nothing to show, or never can be. */
  silent(words) {
    this.sentence.textContent = words;
    this.window.replaceChildren();
    this.heading.textContent = "";
    this.list.replaceChildren();
    this.charts.replaceChildren();
  }

  /**
   * @param {object} view row, column, step (a number), pictures seen and drawn, size and wraps of the window, provenance of the
   *   step, beliefs of all steps (null where not known yet)
   */
  async show(view) {
    const { row, column, seen, drawn, size, wraps, provenance } = view;
    this.place.textContent = `row ${row}, column ${column}`;
    const belief = beliefOf(provenance, row, column);
    const pictures = await this.images_of([...new Set(belief.sources.map(({ image }) => image))]);
    if (view.stale()) return;
    const sources = byLook(belief.sources, pictures, { size, wraps }, this.name);
    for (const source of sources) source.plain = view.plain;
    const rows = size ? covered(row, size, seen.height, wraps) : [...Array(seen.height).keys()];
    const columns = size ? covered(column, size, seen.width, wraps) : [...Array(seen.width).keys()];
    const glimpse = crop(seen, rows, columns);
    const window = size ? `${rows.length} × ${columns.length}` : null;
    const value = crop(drawn, [row], [column]);
    this.sentence.textContent = sentence({
      ...belief,
      plain: view.plain,
      sources,
      window,
      tone: tone(value.data),
      seen: [...glimpse.data],
    });
    this.showWindow(glimpse, value, window);
    this.showSources(sources, belief, Boolean(size));
    this.showCharts(view, belief, sources);
  }

  showWindow(glimpse, value, window) {
    const step = (pixels, words) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.textContent = words;
      figure.append(painted(pixels, words), caption);
      return figure;
    };
    const arrow = document.createElement("span");
    arrow.textContent = "→";
    arrow.setAttribute("aria-hidden", "true");
    this.window.className = "glimpse";
    this.window.replaceChildren(
      step(glimpse, window ? `it sees ${window} noisy pixels` : "it sees the whole noisy image"),
      arrow,
      step(value, `and says ${tone(value.data)}`),
    );
  }

  showSources(sources, belief, patches) {
    const shown = sources.filter(({ weight }, i) => i === 0 || weight >= (i < FEWEST ? NOTHING : i < MOST ? LEAST : Infinity));
    const rest = Math.max(0, 1 - shown.reduce((sum, { weight }) => sum + weight, 0));
    this.heading.textContent = patches ? "The training patches it believes in" : "The training images it believes in";
    this.list.replaceChildren(...shown.map((source) => this.item(source, patches)));
    if (rest >= NOTHING) this.list.append(this.restItem(rest, belief, patches));
  }

  item(source, patches) {
    const item = document.createElement("li");
    item.dataset.image = source.image;
    item.dataset.weight = source.weight;
    const where = document.createElement("div");
    where.className = "where";
    const marks = svg("svg", { viewBox: `0 0 ${source.picture.width} ${source.picture.height}`, "aria-hidden": "true" });
    const boxes = patches ? outlines(source.rows, source.columns) : [{ x: source.column, y: source.row, width: 1, height: 1 }];
    for (const box of boxes) marks.append(svg("rect", { ...box, class: "window under" }), svg("rect", { ...box, class: "window" }));
    where.append(painted(source.picture, `${source.name}, with the ${patches ? "patch" : "pixel"} framed`), marks);
    const words = document.createElement("div");
    words.className = "words";
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.style.setProperty("--share", source.weight);
    const weight = document.createElement("b");
    weight.textContent = percent(source.weight);
    const name = document.createElement("span");
    name.textContent = source.count > 1
      ? `${count(source.count)} patches that look like this, ${source.plain ? "all" : "one"} of ${source.name}`
      : `${source.name}, row ${source.row}, column ${source.column}`;
    words.append(weight, bar, name);
    item.append(...(patches ? [painted(source.patch, `a patch with a ${source.tone} centre`)] : []), where, words);
    return item;
  }

  restItem(rest, { candidates }, patches) {
    const item = document.createElement("li");
    item.className = "rest";
    const words = document.createElement("div");
    words.className = "words";
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.style.setProperty("--share", rest);
    const weight = document.createElement("b");
    weight.textContent = percent(rest);
    const name = document.createElement("span");
    name.textContent = `all the others, of ${count(candidates)} ${patches ? "patches" : "images"} it may match`;
    words.append(weight, bar, name);
    item.append(words);
    return item;
  }

  showCharts(view, belief, sources) {
    const through = (quantity) => Array.from({ length: view.steps }, (_, i) => (view.beliefs[i] ? quantity(view.beliefs[i]) : null));
    const doubt = {
      title: `Doubt: the entropy of its belief, now ${belief.entropy.toFixed(2)} nats, ${percent(belief.share)} of the most there could be`,
      values: through(({ entropy }) => entropy),
    };
    const white = (sources) => sources.reduce((sum, { image, weight }) => sum + (this.name(image).includes("white") ? weight : 0), 0);
    const charts = view.plain
      ? [
          { title: `Belief in white patches, now ${percent(white(sources))}`, values: through(({ sources }) => white(sources)), top: 1 },
          sources[0].count === 1 ? doubt : {
            ...doubt,
            title: `Doubt: the entropy of its belief, now ${belief.entropy.toFixed(2)} nats. It cannot fall below ` +
              `${Math.log(sources[0].count).toFixed(2)}, for the ${sources[0].count} patches of an image are all alike`,
          },
        ]
      : [
          doubt,
          {
            title: `Effective number of patches, now ${count(belief.patches)}, of ${counted(belief.images, "image")}`,
            values: through(({ patches }) => patches),
            log: true,
          },
        ];
    this.charts.replaceChildren();
    for (const chart of charts) this.charts.append(line(this.charts, { ...chart, now: view.step }));
  }
}
