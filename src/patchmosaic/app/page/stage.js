// A stage: one picture, large, on which a pixel is chosen with the mouse, a finger or the arrow keys.
import { paint } from "explorer/arrays";
import { outlines, svg } from "explorer/svg";

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export class Stage {
  /**
   * @param {HTMLElement} place where it goes
   * @param {(row: number, column: number) => void} choose called with the pixel that the reader chooses
   * @param {boolean} focusable whether the keyboard reaches it
   */
  constructor(place, choose, focusable = false) {
    this.choose = choose;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.tint = document.createElement("canvas");
    this.tint.className = "tint";
    this.tint.setAttribute("aria-hidden", "true");
    this.marks = svg("svg", { "aria-hidden": "true" });
    this.element = document.createElement("div");
    this.element.className = "stage";
    this.element.append(this.canvas, this.tint, this.marks);
    this.element.addEventListener("click", (event) => this.clicked(event));
    if (focusable) {
      this.element.tabIndex = 0;
      this.element.setAttribute("role", "application");
      this.element.setAttribute("aria-roledescription", "picture");
      this.element.addEventListener("keydown", (event) => this.pressed(event));
    } else this.element.setAttribute("role", "img");
    place.replaceChildren(this.element);
  }

  /** Show a picture; `words` are for those who cannot see it. */
  show(pixels, words) {
    paint(this.canvas, pixels);
    this.marks.setAttribute("viewBox", `0 0 ${pixels.width} ${pixels.height}`);
    this.element.style.setProperty("--ratio", `${pixels.width} / ${pixels.height}`);
    this.element.setAttribute("aria-label", words);
  }

  /** Mark the chosen pixel, the rows and columns of its window, and the boundaries of regions. */
  mark({ row, column, rows = [], columns = [], boundary = [] }) {
    this.row = row;
    this.column = column;
    const lines = boundary.map(([[r0, c0], [r1, c1]]) => `M${c0} ${r0}L${c1} ${r1}`).join("");
    this.marks.replaceChildren(
      ...(lines ? [svg("path", { d: lines, class: "edge under" }), svg("path", { d: lines, class: "edge" })] : []),
      ...outlines(rows, columns).flatMap((box) => [
        svg("rect", { ...box, class: "window under" }),
        svg("rect", { ...box, class: "window" }),
      ]),
      svg("rect", { x: column, y: row, width: 1, height: 1, class: "pixel under" }),
      svg("rect", { x: column, y: row, width: 1, height: 1, class: "pixel" }),
    );
  }

  /** Lay colours over the picture, or take them away. */
  tinted(colours) {
    this.tint.hidden = !colours;
    if (colours) paint(this.tint, colours);
  }

  clicked(event) {
    const box = this.element.getBoundingClientRect();
    const at = (position, start, length, count) =>
      Math.max(0, Math.min(count - 1, Math.floor(((position - start) / length) * count)));
    this.choose(
      at(event.clientY, box.top, box.height, this.canvas.height),
      at(event.clientX, box.left, box.width, this.canvas.width),
    );
  }

  pressed(event) {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const inside = (i, count) => Math.max(0, Math.min(count - 1, i));
    this.choose(inside(this.row + step[0], this.canvas.height), inside(this.column + step[1], this.canvas.width));
  }
}
