/** The little of the DOM that every page needs. What stands already is not written again. */

export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`this page has no element #${id}`);
  return node;
}

/** A new element; children are elements or text. */
export function make(tag, classes = "", ...children) {
  const node = document.createElement(tag);
  if (classes) node.className = classes;
  node.append(...children);
  return node;
}

/** A mark that only eyes see: its meaning stands beside it in words. */
export function makeShape(shape = "", classes = "shape") {
  const node = make("span", classes, shape);
  node.setAttribute("aria-hidden", "true");
  return node;
}

/** Written into the text that stands there, if one does: a page open all day should not make garbage. */
export function write(node, text) {
  if (node.textContent === text) return;
  const [only] = node.childNodes;
  if (only?.nodeType === Node.TEXT_NODE && node.childNodes.length === 1) only.data = text;
  else node.textContent = text;
}

export function setData(node, name, value) {
  if (node.dataset[name] !== String(value)) node.dataset[name] = value;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** A number the style sheet reckons with: `--at: 0.4`. */
export function setStyle(node, name, value) {
  if (node.style.getPropertyValue(name) !== String(value)) node.style.setProperty(name, value);
}

export function show(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown;
}

/**
 * Make the children of `parent` those of `items`, in order: one element per key, made once by `makeItem(item)`, brought
 * up to date by `draw(element, item)`. Elements that stay are moved only where the order changed.
 */
export function drawList(parent, items, keyOf, makeItem, draw) {
  const before = new Map(Array.from(parent.children, (node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let node = before.get(key);
    before.delete(key);
    if (!node) {
      node = makeItem(item);
      node.dataset.key = key;
    }
    draw(node, item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of before.values()) node.remove();
}
