// The client that asks the server: an answer is a stream of lines, one message a line. Aborting cancels the work behind it.
import { spelled } from "explorer/query";

export const client = {
  recorded: false,

  /** The messages that answer a question. Throws what the server says is wrong. */
  async *ask(kind, fields, signal) {
    const answer = await fetch(`/api/${kind}?${spelled(fields)}`, { signal }).catch((error) => {
      throw error.name === "AbortError" ? error : new Error("The server does not answer. Is `patchmosaic explore` still running?");
    });
    if (!answer.ok) throw new Error(await reason(answer));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const message = JSON.parse(line);
        if (message.error) throw new Error(message.error);
        yield message;
      }
    }
  },
};

async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `The server could not answer (status ${answer.status}); its terminal says why.`;
  }
}
