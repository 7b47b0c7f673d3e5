/** Elements, made in one line each. Text is always set as text. */

type Child = Node | string | null | false | undefined | Child[];
type Attributes = { [name: string]: unknown };

function add(parent: Node, children: Child[]): void {
  for (const child of children)
    if (Array.isArray(child)) add(parent, child);
    else if (child !== null && child !== false && child !== undefined) parent.appendChild(typeof child === "string" ? document.createTextNode(child) : child);
}

/** An element with attributes (`onclick` and the like are listeners), and children. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener);
    else if (name === "class") element.className = String(value);
    else if (name === "value") (element as unknown as HTMLInputElement).value = String(value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag: string, attributes: Attributes = {}, ...children: Child[]): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(name, String(value));
  add(element, children);
  return element;
}

export function replace(parent: Element, ...children: Child[]): void {
  parent.textContent = "";
  add(parent, children);
}

/** A list to choose one of. */
export function choice(label: string, options: { value: string; text: string; group?: string }[], value: string, onchange: (value: string) => void): { element: HTMLLabelElement; select: HTMLSelectElement } {
  const groups = new Map<string, HTMLOptGroupElement>();
  const select = h("select", { onchange: () => onchange(select.value) });
  for (const { value: v, text, group } of options) {
    const option = h("option", { value: v }, text);
    if (!group) select.append(option);
    else {
      let holder = groups.get(group);
      if (!holder) {
        groups.set(group, (holder = h("optgroup", { label: group })));
        select.append(holder);
      }
      holder.append(option);
    }
  }
  select.value = value;
  return { element: h("label", { class: "choice" }, h("span", {}, label), select), select };
}

/** A row of buttons of which one is pressed; arrows go from one to the next. */
export function segments(label: string, options: { value: string; text: string }[], value: string, onchange: (value: string) => void): { element: HTMLElement; set: (value: string) => void } {
  const buttons = options.map((o) =>
    h("button", { type: "button", role: "radio", class: "segment", "data-value": o.value, onclick: () => press(o.value) }, o.text),
  );
  const set = (v: string): void =>
    buttons.forEach((b, i) => {
      const on = options[i]!.value === v;
      b.setAttribute("aria-checked", String(on));
      b.tabIndex = on ? 0 : -1;
    });
  const press = (v: string): void => {
    set(v);
    onchange(v);
  };
  const element = h(
    "div",
    {
      role: "radiogroup", "aria-label": label, class: "segments",
      onkeydown: (e: KeyboardEvent) => {
        const step = e.key === "ArrowRight" || e.key === "ArrowDown" ? 1 : e.key === "ArrowLeft" || e.key === "ArrowUp" ? -1 : 0;
        const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
        if (!step || at < 0) return;
        e.preventDefault();
        const next = (at + step + buttons.length) % buttons.length;
        buttons[next]!.focus();
        press(options[next]!.value);
      },
    },
    buttons,
  );
  set(value);
  return { element, set };
}

const live = h("div", { role: "status", "aria-live": "polite", class: "unseen", id: "said" });
let pending = 0;

/** Says a line to those who hear the page; of many in a row the last. */
export function say(text: string): void {
  if (!live.isConnected) document.body.append(live);
  clearTimeout(pending);
  pending = window.setTimeout(() => (live.textContent = text), 250);
}

const problem = h("div", { role: "alert", class: "problem", hidden: true });

const calm = (): void => {
  problem.hidden = true;
};

/** Shows one line of what went wrong, until the reader does something else. */
export function complain(error: unknown): void {
  if (!problem.isConnected) {
    document.body.append(problem);
    for (const type of ["pointerdown", "keydown", "drop"]) {
      document.addEventListener(type, (event) => problem.contains(event.target as Node) || calm(), true);
    }
  }
  const close = h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: calm }, "×");
  replace(problem, h("span", {}, error instanceof Error ? error.message : String(error)), close);
  problem.hidden = false;
}

export const still = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Calls `f` once a frame at most, with the newest state. */
export function everyFrame(f: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      f();
    });
  };
}

/** Calls `f` when nothing more has come for so many milliseconds. */
export function settled(f: () => unknown, wait: number): () => void {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(f, wait);
  };
}
