// SVG elements in one line.

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Rectangles that outline a window: one, or where it wraps round a border, its pieces. */
export function outlines(rows, columns) {
  return runs(rows).flatMap(([y, height]) => runs(columns).map(([x, width]) => ({ x, y, width, height })));
}

function runs(numbers) {
  const found = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last && last[0] + last[1] === number) last[1] += 1;
    else found.push([number, 1]);
  }
  return found;
}
