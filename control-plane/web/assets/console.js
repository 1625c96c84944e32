// Keeps the first page fresh: fetches it again and swaps its content. Without JavaScript the page reloads itself.
const INTERVAL = 5000;

function busy() {
  const selected = window.getSelection();
  const inside = document.activeElement && document.activeElement.closest("main a, main button");
  return document.hidden || inside || (selected && !selected.isCollapsed);
}

async function refresh() {
  if (busy()) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(4000) });
    // The session has ended: the whole page goes to the door.
    if (answer.redirected) return location.reload();
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("main");
    const shown = document.querySelector("main");
    if (fresh && shown && !busy()) {
      shown.replaceChildren(...fresh.childNodes);
      document.title = page.title;
    }
    document.body.classList.remove("stale");
  } catch {
    // What is shown is old: say so instead of looking calm.
    document.body.classList.add("stale");
  }
}

setInterval(refresh, INTERVAL);
document.addEventListener("visibilitychange", refresh);
