// The form: what can be asked, filled in from the facts of the data; and the question that it spells.

const form = document.getElementById("controls");
const field = (name) => form.elements[name];
const OWN_LIST = "list";

function options(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, title]) => new Option(title, value, false, String(value) === String(chosen))));
}

export class Controls {
  /** @param {(field: string) => void} changed called with the name of what the reader changed */
  constructor(changed) {
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => {
      if (event.target.name === "machine") this.patchSizes();
      if (event.target.name === "patch_size") this.ownList();
      // A list begins with the sizes of the last drawing: there is nothing new to draw yet.
      if (event.target.value !== OWN_LIST) changed(event.target.name);
    });
  }

  /** Which data there are. */
  choices(names, chosen) {
    options(field("source"), names.map((name) => [name, name.split("/").slice(-2).join("/")]), chosen);
  }

  /** Fill the form for new data; `wanted` are the values to begin with. */
  facts(facts, wanted, recorded) {
    this.known = facts;
    const begin = { ...facts.start, ...wanted };
    const classes = facts.classes.map(({ label, name }) => [label, name]);
    options(field("label"), [...(facts.needs_class ? [] : [["", "any"]]), ...classes], begin.label ?? "");
    field("label").closest("label").hidden = classes.length === 0;
    options(field("machine"), facts.machines.map(({ name }) => [name, name]), begin.machine);
    this.seeds(facts.seeds, begin.seed);
    field("steps").value = begin.steps;
    field("steps").disabled = recorded;
    this.patchSizes(wanted.patch_sizes);
    this.counts(facts, recorded);
  }

  /** How many training images to use; what the server takes unasked has no number of its own. */
  counts({ images, usual, total }, recorded) {
    const counts = recorded ? [images] : [500, 2000, 10000, usual, images, total].filter((n) => n <= total);
    const title = (n) => `${n === total ? "all" : "first"} ${n.toLocaleString("en")}`;
    const value = (n) => (n === usual ? "" : n);
    const choices = [...new Set(counts)].sort((a, b) => a - b).map((n) => [value(n), title(n)]);
    options(field("images"), choices, value(images));
  }

  /** A number to type, or where only some were recorded, a choice. */
  seeds(recorded, chosen) {
    const place = document.getElementById("seed-field");
    const input = document.createElement(recorded ? "select" : "input");
    input.name = "seed";
    if (recorded) options(input, recorded.map((seed) => [seed, seed]), chosen);
    else Object.assign(input, { type: "number", min: 0, step: 1, value: chosen });
    place.querySelector("input, select").replaceWith(input);
  }

  machine() {
    return this.known.machines.find(({ name }) => name === field("machine").value);
  }

  patchSizes(wanted = "") {
    const { windowed, calibrated, name } = this.machine();
    const plain = this.known.start.patch_size;
    const own = calibrated ? "calibrated" : plain ? `${plain} × ${plain}` : "shrinking";
    const sizes = this.known.patch_sizes.filter((size) => size !== plain).map((size) => [size, `${size} × ${size}`]);
    const list = String(wanted).includes(",");
    const choices = [["", own], ...sizes, ...(sizes.length ? [[OWN_LIST, "a list …"]] : [])];
    options(field("patch_size"), windowed ? choices : [["", "none"]], list ? OWN_LIST : wanted);
    field("patch_size").disabled = !windowed;
    field("patch_size").title = windowed ? "" : `${name} has no patches`;
    field("patch_sizes").value = list ? String(wanted).replaceAll(",", " ") : "";
    this.ownList();
  }

  ownList() {
    const listed = field("patch_size").value === OWN_LIST;
    field("patch_sizes").closest("label").hidden = !listed;
    if (listed && !field("patch_sizes").value) field("patch_sizes").value = this.lastSizes?.join(" ") ?? "";
  }

  /** The patch sizes of the last drawing, for a list to begin with. */
  drew(sizes) {
    if (sizes.every((size) => size !== null)) this.lastSizes = sizes;
  }

  /** The question, its fields named as the server names them. */
  ask() {
    const size = field("patch_size").value;
    return {
      source: field("source").value,
      images: field("images").value,
      label: field("label").value,
      machine: field("machine").value,
      seed: field("seed").value,
      steps: field("steps").value,
      patch_sizes: size === OWN_LIST ? field("patch_sizes").value.trim().split(/[\s,]+/).join(",") : size,
    };
  }

  /** Go to another drawing: its seed, its class where it has one, and its machine where it can be drawn here. */
  go(seed, label, machine) {
    field("seed").value = seed;
    if (label !== null && label !== undefined) field("label").value = label;
    if (this.known.machines.some(({ name }) => name === machine)) field("machine").value = machine;
    this.patchSizes();
  }
}
