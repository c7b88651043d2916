// The compare page: the tables of a run, every seed a dot that leads back to its drawing.
import { svg } from "explorer/svg";

const METRICS = [["r", "r"], ["r2", "r²"], ["R2", "R²"], ["cosine", "cosine"], ["mse", "mean squared error"]];
const fixed = (value, digits = 3) => value.toFixed(digits).replace("-", "−");

export class Compare {
  /** @param {(seed: number, label: number | null, machine: string) => void} choose called with the drawing that the reader wants to see */
  constructor(place, choose) {
    this.place = place;
    this.choose = choose;
  }

  forget() {
    this.place.replaceChildren();
  }

  show({ colours, comparisons }) {
    this.place.replaceChildren(...Object.values(comparisons).map((one) => this.comparison(one, colours)));
  }

  comparison(one, colours) {
    const machines = Object.keys(one.summary).sort((a, b) => one.summary[b].r.value - one.summary[a].r.value);
    const [best] = machines;
    const section = document.createElement("section");
    const heading = document.createElement("h2");
    heading.textContent = `${one.seeds.length} seeds: machines with ${one.steps} steps against the network with ${one.network_steps}`;
    const lead = document.createElement("p");
    lead.className = "sentence";
    lead.textContent = `${best} is nearest: what it predicts correlates with what the network drew at r = ${fixed(one.summary[best].r.value, 2)}, ` +
      "the median over seeds.";
    section.append(heading, lead, this.dots(one, machines, colours), table(one, machines));
    return section;
  }

  /** One row of dots for each machine: r of every seed, the median and its interval. */
  dots(one, machines, colours) {
    const row = 46, left = 74, right = 20, width = Math.max(300, Math.min(760, this.place.clientWidth || 700)), height = machines.length * row + 34;
    const values = machines.flatMap((machine) => one.per_seed[machine].r);
    const low = Math.min(0, Math.floor(5 * Math.min(...values)) / 5);
    const x = (value) => left + ((width - left - right) * (value - low)) / (1 - low);
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "r of every seed, by machine" });
    for (let tick = Math.ceil(low * 5) / 5; tick <= 1.001; tick += 0.2) {
      root.append(
        svg("line", { x1: x(tick), x2: x(tick), y1: 4, y2: height - 26, class: "grid" }),
        svg("text", { x: x(tick), y: height - 8, "text-anchor": "middle" }, fixed(tick, 1)),
      );
    }
    machines.forEach((machine, i) => {
      const y = 8 + row * (i + 0.5);
      const { value, low: from, high: to } = one.summary[machine].r;
      root.append(svg("text", { x: 0, y: y + 4, class: "name" }, machine));
      one.per_seed[machine].r.forEach((r, k) => {
        const seed = one.seeds[k], label = one.labels ? one.labels[k] : null;
        const words = `${machine}, seed ${seed}: r = ${fixed(r, 2)}. Explore it`;
        const dot = svg("circle", { cx: x(r), cy: y + ((k % 5) - 2) * 3.5, r: 5, fill: colours[machine] ?? "#5c6ac4", class: "seed", tabindex: 0, role: "link", "aria-label": words });
        dot.append(svg("title", {}, words));
        dot.addEventListener("click", () => this.choose(seed, label, machine));
        dot.addEventListener("keydown", (event) => event.key === "Enter" && this.choose(seed, label, machine));
        root.append(dot);
      });
      root.append(
        svg("line", { x1: x(from), x2: x(to), y1: y + 15, y2: y + 15, class: "interval" }),
        svg("circle", { cx: x(value), cy: y + 15, r: 4, class: "median" }),
      );
    });
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = "Correlation r with the network's image. Each coloured dot is a seed: click it to see its drawing. Below, the median and its 95% interval.";
    figure.append(root, caption);
    return figure;
  }
}

function table(one, machines) {
  const cell = (tag, text, attributes = {}) => Object.assign(document.createElement(tag), { textContent: text, ...attributes });
  const grid = document.createElement("table");
  const head = grid.createTHead().insertRow();
  head.append(...["machine", ...METRICS.map(([, title]) => title), "seeds above IS"].map((title) => cell("th", title, { scope: "col" })));
  const body = grid.createTBody();
  for (const machine of machines) {
    const summary = one.summary[machine];
    const line = body.insertRow();
    line.append(cell("th", machine, { scope: "row" }));
    for (const [metric] of METRICS) {
      const { value, low, high } = summary[metric];
      const box = cell("td", fixed(value));
      box.append(cell("small", `${fixed(low)} to ${fixed(high)}`));
      line.append(box);
    }
    line.append(cell("td", machine === "IS" ? "" : `${Math.round(100 * summary.beats_IS)}%`));
  }
  const frame = document.createElement("div");
  frame.className = "table";
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", "Medians over seeds with 95% intervals");
  frame.append(grid);
  return frame;
}
