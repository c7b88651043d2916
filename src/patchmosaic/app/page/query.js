// One spelling for each question: names in order, nothing that is empty. The server spells a recorded question the same way.

/** @param {Record<string, any>} fields */
export function spelled(fields) {
  const said = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(said.map(([name, value]) => [name, String(value)]).sort(([a], [b]) => (a < b ? -1 : 1))).toString();
}
