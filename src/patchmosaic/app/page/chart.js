// Small charts, drawn to the width they have.
import { svg } from "explorer/svg";

const HEIGHT = 118, LEFT = 44, RIGHT = 10, TOP = 10, BOTTOM = 22;

/**
 * A quantity at every step, with the step that is being looked at.
 * @param {object} chart title, values (null where not known yet), now, log (whether values count on a log scale), top (of the axis)
 */
export function line(place, { title, values, now, log = false, top: highest }) {
  const width = Math.max(220, place.clientWidth);
  const known = values.filter((value) => value !== null);
  const scaled = (value) => (log ? Math.log10(Math.max(value, 1)) : value);
  const top = highest ?? Math.max(log ? 1 : 0.5, ...known.map(scaled)) * 1.05;
  const x = (i) => LEFT + ((width - LEFT - RIGHT) * (values.length > 1 ? i / (values.length - 1) : 0.5));
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - scaled(value) / top);
  const root = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": `${title}, step by step` });
  for (const tick of ticks(top, log)) {
    root.append(
      svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }),
      svg("text", { x: LEFT - 7, y: y(tick) + 4, "text-anchor": "end" }, label(tick)),
    );
  }
  const path = values.map((value, i) => (value === null ? null : [x(i), y(value), values[i - 1] ?? null]));
  const drawn = path.map((point) => (point === null ? "" : `${point[2] === null ? "M" : "L"}${point[0]} ${point[1]}`)).join("");
  root.append(
    svg("line", { x1: x(now), x2: x(now), y1: TOP, y2: HEIGHT - BOTTOM, class: "now" }),
    svg("path", { d: drawn, class: "curve" }),
    ...(values[now] === null || values[now] === undefined ? [] : [svg("circle", { cx: x(now), cy: y(values[now]), r: 4, class: "dot" })]),
    svg("text", { x: LEFT, y: HEIGHT - 5 }, "noise"),
    svg("text", { x: width - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, "image"),
  );
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  figure.append(caption, root);
  return figure;
}

const label = (tick) => (tick >= 1e6 ? `${tick / 1e6}M` : tick >= 1000 ? `${tick / 1000}k` : String(tick));

function ticks(top, log) {
  if (log) {
    const every = top > 4 ? 2 : 1;
    return Array.from({ length: Math.floor(top / every) + 1 }, (_, i) => 10 ** (i * every));
  }
  const stride = [0.5, 1, 2, 5, 10].find((step) => top / step <= 3) ?? 10;
  return Array.from({ length: Math.floor(top / stride) + 1 }, (_, i) => i * stride);
}
