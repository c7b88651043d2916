// Asking: one piece of work at a time. New work ends the old; how far it is, and what is wrong, is said on the page.
import { client } from "explorer/client";

const at = (id) => document.getElementById(id);

export class Asking {
  /** @param {(signal: AbortSignal) => Promise<void>} again what "Go on" does after work was cancelled */
  constructor(again) {
    this.work = new AbortController();
    this.again = again;
    at("cancel").addEventListener("click", () => (this.work.signal.aborted ? this.begin(this.again) : this.cancel()));
  }

  /** Begin new work in place of the old. */
  async begin(task) {
    this.work.abort();
    const mine = (this.work = new AbortController());
    at("message").hidden = true;
    at("cancel").textContent = "Cancel";
    this.tell("starting");
    try {
      await task(mine.signal);
    } catch (error) {
      if (mine.signal.aborted) return;
      at("message").textContent = error.message;
      at("message").hidden = false;
    }
    if (this.work === mine && !mine.signal.aborted) at("busy").classList.remove("on");
  }

  cancel() {
    this.work.abort();
    this.tell("Stopped", 0, 1);
    at("cancel").textContent = "Go on";
  }

  /** Say how far the work is; without a total, only that it goes on. */
  tell(what, done = 0, total = 0) {
    at("busy").classList.add("on");
    at("doing").textContent = total > 1 ? `${what}: ${done} of ${total}` : what;
    const bar = at("busy").querySelector("progress");
    if (total) Object.assign(bar, { max: total, value: done });
    else bar.removeAttribute("value");
  }

  /** The messages that answer a question, without those of progress. */
  async *messages(kind, fields, signal) {
    for await (const message of client.ask(kind, fields, signal)) {
      if (signal?.aborted) return;
      if (message.progress) this.tell(message.progress.what, message.progress.done, message.progress.total);
      else yield message;
    }
  }

  /** What an answer of one message says. */
  async only(kind, fields, signal) {
    for await (const message of this.messages(kind, fields, signal)) return message[kind];
    throw new DOMException("nobody waits for the answer any more", "AbortError");
  }
}
