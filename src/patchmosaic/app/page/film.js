// The film: steps side by side, as many as are large enough to be seen, in rows for the noisy image, the prediction and the network.
import { painted } from "explorer/arrays";

const NARROWEST = 26; // CSS pixels of a frame

export class Film {
  /** @param {(step: number) => void} go called with the step that was clicked */
  constructor(place, go) {
    this.place = place;
    this.go = go;
  }

  /** Empty, for so many steps, with a row for each [key, title]. */
  begin(count, rows) {
    this.place.replaceChildren();
    const most = Math.max(2, Math.floor((this.place.clientWidth - 60) / NARROWEST));
    const shown = Math.min(count, most);
    this.shown = Array.from({ length: shown }, (_, i) => Math.round((i * (count - 1)) / Math.max(shown - 1, 1)));
    this.place.style.setProperty("--frames", shown);
    this.rows = rows.map(([key, title]) => {
      const name = document.createElement("span");
      name.textContent = title;
      const frames = document.createElement("div");
      frames.className = "frames";
      frames.addEventListener("click", (event) => {
        const frame = event.target.closest("canvas");
        if (frame) this.go(this.shown[[...frames.children].indexOf(frame)]);
      });
      this.place.append(name, frames);
      return [key, frames];
    });
  }

  add(step) {
    if (!this.shown.includes(step.number)) return;
    for (const [key, frames] of this.rows) frames.append(painted(step[key]));
  }

  /** Show which step is being looked at. */
  at(number) {
    const now = this.shown.findLastIndex((shown) => shown <= number);
    for (const [, frames] of this.rows) {
      [...frames.children].forEach((frame, i) => frame.classList.toggle("now", i === now));
    }
  }
}
