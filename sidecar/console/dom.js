/** An element with properties (`data` for data attributes, `on*` for handlers) and children (elements or text). */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("aria-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Finds the named parts (`data-part`) within one pane. */
export const partsOf = (root) => (name) => root.querySelector(`[data-part="${name}"]`);

/** Runs `draw` once in the next frame however often it is asked for. */
export function everyFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}

/** Sets text only when it differs, so that a live region speaks only of changes. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Says something to screen readers, politely. */
export function announce(text) {
  setText(byId("announce"), text);
}
