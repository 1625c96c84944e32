// Completes names in the expression. Without JavaScript the page is a form, and everything else works the same.
const text = document.getElementById("expr");
const list = document.getElementById("choices");
const help = document.getElementById("help");
const form = document.getElementById("query");
const MOST = 30;

const KEYWORDS = ["by", "without", "on", "ignoring", "group_left", "group_right", "bool", "and", "or", "unless", "offset"];
let functions = [];
let choices = [];
let chosen = -1;
let asking = 0;
let timer = 0;

async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

// A text as a PromQL string, and as a part of a regular expression.
const quoted = (s) => '"' + s.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n") + '"';
const literal = (s) => s.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

// A name as it may stand in an expression: outside of the classic alphabet it needs quotes, a metric's braces as well.
const named = (s) => (/^[a-zA-Z_]\w*$/.test(s) ? s : quoted(s));
const metricNamed = (s) => (/^[a-zA-Z_:][\w:]*$/.test(s) ? s : `{${quoted(s)}}`);
const unquoted = (s) => s.replace(/\\(.)/g, "$1");

// What stands before the cursor: a word to complete, and where it stands.
function place() {
  const before = text.value.slice(0, text.selectionStart);
  const stack = [];
  let quote = "";
  let start = 0;
  for (let i = 0; i < before.length; i += 1) {
    const c = before[i];
    if (quote) {
      if (c === "\\" && quote !== "`") i += 1;
      else if (c === quote) quote = "";
    } else if (c === '"' || c === "'" || c === "`") {
      quote = c;
      start = i + 1;
    } else if (c === "#") {
      const end = before.indexOf("\n", i);
      if (end < 0) return null;
      i = end;
    } else if ("({[".includes(c)) {
      stack.push({ c, before: before.slice(0, i) });
    } else if (")}]".includes(c)) {
      stack.pop();
    }
  }
  const open = stack[stack.length - 1];
  const inside = open ? before.slice(open.before.length + 1) : "";
  const plain = open && open.c === "{" ? /([a-zA-Z_:][\w:]*)\s*$/.exec(open.before)?.[1] : "";
  const metric = plain || unquoted(/^\s*"((?:[^"\\]|\\.)*)"\s*,/.exec(inside)?.[1] ?? "");
  if (quote) {
    if (!open || open.c !== "{") return null;
    const word = unquoted(before.slice(start));
    const label = /(?:([a-zA-Z_]\w*)|"((?:[^"\\]|\\.)*)")\s*(?:=~|!~|!=|=)\s*$/.exec(before.slice(0, start - 1));
    if (label) return { kind: "value", metric, label: label[1] ?? unquoted(label[2]), start, word, quote };
    return /^\s*["'`]$/.test(before.slice(open.before.length + 1, start)) ? { kind: "quoted", start, word, quote } : null;
  }
  const word = /[a-zA-Z_:][\w:]*$/.exec(before)?.[0] ?? "";
  const from = before.length - word.length;
  if (/[\d.]$/.test(before.slice(0, from))) return null;
  if (open && open.c === "[") return null;
  if (open && open.c === "{") return { kind: "label", metric, start: from, word };
  if (open && open.c === "(" && /\b(by|without|on|ignoring|group_left|group_right)\s*$/i.test(open.before)) {
    const names = text.value.match(/[a-zA-Z_:][\w:]*(?=\s*[{[])/g) ?? [];
    return { kind: "label", metric: names[0] ?? "", start: from, word };
  }
  return { kind: "name", start: from, word };
}

async function metricsLike(word) {
  const set = encodeURIComponent(`{__name__=~${quoted(`(?i).*${literal(word)}.*`)},__name__!=""}`);
  const found = (await get(`/api/v1/label/__name__/values?limit=${MOST}&match[]=${set}`)).data;
  return found.sort((a, b) => Number(b.startsWith(word)) - Number(a.startsWith(word)));
}

async function look(at) {
  const match = at.metric ? quotedMatch(at.metric) : "";
  if (at.kind === "value") {
    const pattern = quoted(`.*${literal(at.word)}.*`);
    const name = at.metric ? `__name__=${quoted(at.metric)},` : "";
    const label = named(at.label);
    const set = encodeURIComponent(`{${name}${label}=~${pattern},${label}!=""}`);
    const found = await get(`/api/v1/label/${encodeURIComponent(at.label)}/values?limit=${MOST}&match[]=${set}`);
    return found.data.map((name) => ({ name, insert: escaped(name, at.quote), about: "value" }));
  }
  if (at.kind === "label") {
    const found = await get(`/api/v1/labels${match ? `?match[]=${match}` : ""}`);
    const names = found.data.filter((name) => name !== "__name__" && name.includes(at.word));
    return names.slice(0, MOST).map((name) => ({ name, insert: named(name), about: "label" }));
  }
  if (at.kind === "quoted") {
    return (await metricsLike(at.word)).map((name) => ({ name, insert: escaped(name, at.quote), about: "metric" }));
  }
  if (!at.word) return [];
  if (functions.length === 0) functions = (await get("/api/vigie/v1/functions")).functions;
  const word = at.word.toLowerCase();
  const known = functions.filter((f) => f.name.startsWith(word)).sort((a, b) => a.name.length - b.name.length);
  const metrics = await metricsLike(at.word);
  return [
    ...known.map((f) => ({ name: f.name, insert: `${f.name}(`, about: f.signature, help: `${f.signature}: ${f.help}` })),
    ...KEYWORDS.filter((k) => k.startsWith(word)).map((k) => ({ name: k, insert: `${k} `, about: "keyword" })),
    ...metrics.map((name) => ({ name, insert: metricNamed(name), about: "metric" })),
  ].slice(0, MOST);
}

const quotedMatch = (metric) => encodeURIComponent(`{__name__=${quoted(metric)}}`);

function escaped(value, quote) {
  if (quote === "`") return value;
  return value.replace(/\\/g, "\\\\").replace(/\n/g, "\\n").replaceAll(quote, `\\${quote}`);
}

function close() {
  list.hidden = true;
  choices = [];
  chosen = -1;
  text.setAttribute("aria-expanded", "false");
  text.removeAttribute("aria-activedescendant");
}

function choose(i) {
  chosen = i;
  [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === i)));
  const item = list.children[i];
  if (!item) return;
  item.scrollIntoView({ block: "nearest" });
  text.setAttribute("aria-activedescendant", item.id);
  help.textContent = choices[i].help ?? "";
}

function show(found) {
  choices = found;
  list.replaceChildren(...found.map((choice, i) => {
    const item = document.createElement("li");
    item.id = `choice-${i}`;
    item.setAttribute("role", "option");
    const name = document.createElement("span");
    const about = document.createElement("span");
    name.textContent = choice.name;
    about.textContent = choice.about;
    item.append(name, about);
    // Before the text loses the focus.
    item.addEventListener("pointerdown", (e) => { e.preventDefault(); accept(i); });
    return item;
  }));
  list.hidden = found.length === 0;
  text.setAttribute("aria-expanded", String(found.length > 0));
  if (found.length > 0) choose(0);
}

function accept(i) {
  const at = place();
  const choice = choices[i];
  close();
  if (!at || !choice) return;
  const end = text.selectionStart;
  text.setRangeText(choice.insert, at.start, end, "end");
  if (choice.help) help.textContent = choice.help;
  text.focus();
}

async function complete(asked) {
  const at = place();
  asking += 1;
  const mine = asking;
  if (!at || (!at.word && !asked && at.kind === "name")) return close();
  try {
    const found = await look(at);
    const same = found.length === 1 && found[0].insert === at.word;
    if (mine === asking) show(same ? [] : found);
  } catch {
    // Nothing to offer is no reason to stop somebody who writes.
    if (mine === asking) close();
  }
}

text.setAttribute("role", "combobox");
text.setAttribute("aria-autocomplete", "list");
text.setAttribute("aria-controls", "choices");
text.setAttribute("aria-expanded", "false");
text.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => complete(false), 120);
});
text.addEventListener("blur", close);
text.addEventListener("keydown", (e) => {
  if (e.key === "Enter" && (e.ctrlKey || e.metaKey || e.shiftKey)) {
    e.preventDefault();
    form.requestSubmit();
  } else if (e.key === " " && e.ctrlKey) {
    e.preventDefault();
    complete(true);
  } else if (!list.hidden && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
    e.preventDefault();
    const n = choices.length;
    choose((chosen + (e.key === "ArrowDown" ? 1 : n - 1)) % n);
  } else if (!list.hidden && (e.key === "Enter" || e.key === "Tab")) {
    e.preventDefault();
    accept(chosen);
  } else if (!list.hidden && e.key === "Escape") {
    e.preventDefault();
    close();
  }
});
