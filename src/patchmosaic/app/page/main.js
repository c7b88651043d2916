// The explorer: asks for what the form says, shows what comes, and keeps all parts at the same step and pixel.
import { picture, unpacked, covered } from "explorer/arrays";
import { Asking } from "explorer/asking";
import { client } from "explorer/client";
import { Compare } from "explorer/compare";
import { Controls } from "explorer/controls";
import { Film } from "explorer/film";
import { legend, mosaic } from "explorer/mosaic";
import { Stage } from "explorer/stage";
import { Why, beliefOf } from "explorer/why";

const at = (id) => document.getElementById(id);
const PACKED = ["image", "row", "column", "weight", "count", "entropy", "entropy_share", "candidates", "effective_patches", "effective_images"];
const FRAME_SECONDS = 0.16;

const state = { facts: null, ask: null, began: null, steps: [], traced: [], step: 0, row: 0, column: 0, pictures: new Map() };

const asking = new Asking((signal) => draw(signal));
const controls = new Controls((field) =>
  asking.begin((signal) => {
    if (field === "source") return open(signal, { source: controls.ask().source });
    if (field === "images") return open(signal, controls.ask());
    return draw(signal);
  }),
);
const film = new Film(at("film"), (step) => go(step));
const stages = {
  own: new Stage(at("own"), choose, true),
  seen: new Stage(at("seen"), choose),
  network: new Stage(at("network"), choose),
};
const why = new Why(images, name);
const compare = new Compare(at("compare"), (seed, label, machine) => {
  page("explore");
  controls.go(seed, label, machine);
  asking.begin((signal) => draw(signal));
});

// ---- data, drawing, tracing ----

/** Training images, each with its picture and label; asked for once. */
async function images(positions) {
  const missing = positions.filter((position) => !state.pictures.has(position));
  if (missing.length) {
    const found = await asking.only("images", { ...state.source, at: missing.join(",") });
    for (const { position, label, pixels } of found) state.pictures.set(position, { picture: picture(pixels), label });
  }
  return state.pictures;
}

function name(position) {
  const label = state.pictures.get(position)?.label;
  const title = state.facts.titles[label] ?? "";
  if (state.facts.plain) return `the ${title} training image`;
  return [`image ${position.toLocaleString("en")}`, title].filter(Boolean).join(", ");
}

/** Open data; `wanted` names them, and whatever else is to be as it says. */
async function open(signal, wanted) {
  asking.tell("reading the training images");
  const source = { source: wanted.source, images: wanted.images };
  const facts = await asking.only("facts", source, signal);
  Object.assign(state, { facts, source, pictures: new Map(), began: null });
  const [, height, width] = facts.shape;
  const pixel = wanted.row === undefined ? facts.start.pixel : [wanted.row, wanted.column];
  state.chosen = Boolean(pixel);
  [state.row, state.column] = pixel ?? [Math.floor(height / 2), Math.floor(width / 2)];
  controls.facts(facts, wanted, client.recorded);
  at("note").textContent = facts.note;
  at("note").hidden = !facts.note;
  at("pages").hidden = !facts.has_results;
  at("network-figure").hidden = !facts.network;
  compare.forget();
  await draw(signal, wanted.step);
}

async function draw(signal, wantedStep) {
  const [ask, machine] = [controls.ask(), controls.machine()];
  for await (const message of asking.messages("trajectory", ask, signal)) {
    if (message.began) begin(message.began, ask, machine, wantedStep);
    if (message.step) arrived(message.step);
  }
  if (signal.aborted) return;
  remember();
  if (state.machine.traceable) await follow(ask, signal);
}

/** Ask for the provenance of all steps, beginning with the one that is being looked at. */
async function follow(ask, signal) {
  for await (const { provenance } of asking.messages("provenance", { ...ask, first: state.step }, signal)) {
    const traced = { ...provenance };
    for (const key of PACKED) traced[key] = unpacked(provenance[key]);
    state.traced[provenance.number] = traced;
    if (!state.chosen) [state.row, state.column] = traced.telling;
    state.chosen = true;
    if (provenance.number === state.step) render();
    else renderPanelSoon();
  }
  panel();
}

function begin(began, ask, machine, wantedStep) {
  const x_T = picture(began.x_T);
  Object.assign(state, { began, ask, machine, wantedStep, step: 0, count: began.noise_levels.length, steps: [], traced: [] });
  state.follow = wantedStep === undefined;
  controls.drew(began.patch_sizes);
  at("meaning").textContent = `${machine.name}, the ${machine.meaning}`;
  at("own-title").textContent = `What ${ask.machine} predicts`;
  at("seen-title").textContent = "The noise it sees";
  const rows = [["x_t", "noisy"], ["x0_hat", ask.machine], ...(state.facts.network ? [["network_x0_hat", "network"]] : [])];
  film.begin(state.count, rows);
  Object.assign(at("step"), { max: state.count - 1, value: 0 });
  stages.seen.show(x_T, "The noise that the drawing starts from");
  stages.own.show(x_T, "Nothing is predicted yet: the noise that the drawing starts from");
  why.silent("");
  at("legend").replaceChildren();
  stages.own.tinted(null);
}

function arrived(message) {
  const step = { number: message.number, r: message.r };
  for (const key of ["x_t", "x0_hat", "network_x0_hat"]) if (message[key]) step[key] = picture(message[key]);
  state.steps.push(step);
  film.add(step);
  if (state.follow || step.number === state.wantedStep) {
    state.step = step.number;
    renderSoon();
  }
}

// ---- showing ----

const once = (render) => {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      render();
    });
  };
};
const renderSoon = once(render);
const renderPanelSoon = once(panel);

function size() {
  return state.began.patch_sizes[state.step];
}

function render() {
  const step = state.steps[state.step];
  if (!step) return;
  const { began, facts, ask, count } = state;
  const level = began.noise_levels[state.step];
  const window = size() ? `, window ${size()} × ${size()}` : "";
  at("step").value = state.step;
  at("step-words").textContent = `step ${state.step + 1} of ${count}, noise ${level === null ? "infinite" : level.toPrecision(2)}${window}`;
  film.at(state.step);
  const [, height, width] = facts.shape;
  const shape = `${height} by ${width} pixels`;
  stages.seen.show(step.x_t, `The noisy image at step ${state.step + 1}, ${shape}`);
  stages.own.show(step.x0_hat, `What ${ask.machine} predicts at step ${state.step + 1}, ${shape}. The arrow keys choose a pixel.`);
  if (step.network_x0_hat) {
    at("network-title").textContent = `The network, r = ${step.r.toFixed(2).replace("-", "−")}`;
    stages.network.show(step.network_x0_hat, `What the trained network predicts from the same noise; correlation ${step.r.toFixed(2)}`);
  }
  tint();
  mark();
  panel();
}

function mark() {
  const [, height, width] = state.facts.shape;
  const { wraps } = state.machine;
  const { row, column } = state;
  const window = size() ? { rows: covered(row, size(), height, wraps), columns: covered(column, size(), width, wraps) } : {};
  stages.own.mark({ row, column, boundary: state.boundary });
  stages.seen.mark({ row, column, ...window });
  stages.network.mark({ row, column });
}

function panel() {
  const { began, steps, traced, step, row, column, facts } = state;
  if (!began || !steps[step]) return;
  if (!state.machine.traceable) {
    why.silent(`${state.ask.machine} is a linear filter: it adds up noisy pixels and believes in no training image. Another machine tells.`);
    return;
  }
  if (!traced[step]) {
    why.silent("Looking for the patches behind this step …");
    return;
  }
  const shown = [state.ask, step, row, column];
  const stale = () => [state.ask, state.step, state.row, state.column].some((value, i) => value !== shown[i]);
  const beliefs = Array.from({ length: state.count }, (_, i) => traced[i] && beliefOf(traced[i], row, column));
  why.show({
    row, column, step, steps: state.count, beliefs, stale,
    seen: steps[step].x_t, drawn: steps[step].x0_hat,
    size: size(), wraps: state.machine.wraps,
    provenance: traced[step], plain: facts.plain,
  }).catch((error) => why.silent(error.message));
}

function tint() {
  const traced = state.traced[state.step];
  const whole = at("overlay").checked && traced ? mosaic(traced) : null;
  stages.own.tinted(whole?.tint);
  state.boundary = whole ? traced.boundary : [];
  at("legend").hidden = !whole;
  const stale = () => state.traced[state.step] !== traced;
  if (whole) legend(at("legend"), whole, traced.mosaic, images, name, stale);
}

// ---- what the reader does ----

function choose(row, column) {
  if (!state.began) return;
  Object.assign(state, { row, column, chosen: true });
  mark();
  panel();
  remember();
}

function go(step) {
  if (!state.steps[step]) return;
  Object.assign(state, { step, follow: false });
  render();
  remember();
}

let playing = null;
function play() {
  const button = at("play");
  const stop = () => {
    clearInterval(playing);
    playing = null;
    button.classList.remove("on");
    button.setAttribute("aria-label", "Play");
  };
  if (playing) return stop();
  button.classList.add("on");
  button.setAttribute("aria-label", "Pause");
  go(state.step === state.count - 1 ? 0 : state.step);
  playing = setInterval(() => (state.steps[state.step + 1] ? go(state.step + 1) : stop()), 1000 * FRAME_SECONDS);
}

function page(wanted) {
  for (const name of ["explore", "compare"]) {
    at(name).hidden = name !== wanted;
    at(`to-${name}`).toggleAttribute("aria-current", false);
  }
  at(`to-${wanted}`).setAttribute("aria-current", "page");
}

/** Keep in the address what is being looked at, so that it can be bookmarked. */
function remember() {
  const { ask, step, row, column } = state;
  history.replaceState(null, "", `#${new URLSearchParams({ ...ask, step, row, column })}`);
}

function remembered() {
  const fields = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const known = Object.entries(fields).filter(([, value]) => value !== "");
  return Object.fromEntries(known.map(([key, value]) => [key, ["step", "row", "column"].includes(key) ? Number(value) : value]));
}

at("step").addEventListener("input", (event) => go(Number(event.target.value)));
at("play").addEventListener("click", play);
at("overlay").addEventListener("change", () => state.steps.length && render());
at("to-explore").addEventListener("click", () => page("explore"));
at("to-compare").addEventListener("click", () => {
  page("compare");
  asking.begin(async (signal) => compare.show(await asking.only("results", { source: state.source.source }, signal)));
});

asking.begin(async (signal) => {
  const names = await asking.only("choices", {}, signal);
  const wanted = remembered();
  const known = names.includes(wanted.source) ? wanted : { source: names[0] };
  controls.choices(names, known.source);
  await open(signal, known);
});
