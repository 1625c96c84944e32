// The explore page in a real browser: completion by keyboard, tabs, errors at their place, a phone's width.
// explore.mjs ADDRESS CHROMIUM PLAYWRIGHT FOLDER - prints what is wrong, and ends with 1 if something is.
import { createRequire } from "node:module";
import { join } from "node:path";

const [address, executablePath, playwright, folder] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwright);

const wrong = [];
const check = (holds, what) => { if (!holds) wrong.push(what); };

const browser = await chromium.launchPersistentContext(join(folder, "profile"), {
  executablePath,
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

async function open(path, width) {
  const page = await browser.newPage();
  page.on("pageerror", (e) => wrong.push(`${path}: ${e}`));
  page.on("console", (m) => { if (m.type() === "error") wrong.push(`${path}: ${m.text()}`); });
  page.setDefaultTimeout(10000);
  await page.setViewportSize({ width, height: 900 });
  await page.goto(address + path);
  return page;
}

async function shot(page, name) {
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

const options = (page) => page.locator("#choices li:visible");

// Writes by keys alone, and waits for the list that comes of it.
async function write(page, text) {
  await page.keyboard.type(text);
  await options(page).first().waitFor({ timeout: 10000 });
}

const expression = (query, more = "") => `/graph?g0.expr=${encodeURIComponent(query)}${more}`;

try {
  for (const [name, width] of [["desk", 1280], ["phone", 390]]) {
    const page = await open("/graph", width);
    await page.locator("#expr").focus();
    await write(page, "cou");
    check(await page.locator("#expr").getAttribute("aria-expanded") === "true", `${name}: the list is announced`);
    check((await options(page).allInnerTexts()).some((t) => t.includes("count") && t.includes("instant vector")), `${name}: functions come with their signatures`);
    await shot(page, `${name}-complete`);
    await page.keyboard.press("Enter");
    check((await page.locator("#expr").inputValue()) === "count(", `${name}: Enter takes the first: ${await page.locator("#expr").inputValue()}`);
    await write(page, "u");
    const names = await options(page).locator("> :first-child").allInnerTexts();
    for (let i = 0; i < names.indexOf("up"); i += 1) await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Tab");
    await write(page, "{jo");
    await page.keyboard.press("Enter");
    await write(page, '="');
    await page.keyboard.press("Escape");
    check(await options(page).count() === 0, `${name}: Escape closes the list`);
    await page.keyboard.press("Control+Space");
    await options(page).first().waitFor();
    await page.keyboard.press("Enter");
    await page.keyboard.type('"})');
    const query = await page.locator("#expr").inputValue();
    check(/^count\(up\{job="[^"]+"\}\)$/.test(query), `${name}: written by keyboard alone: ${query}`);
    await page.keyboard.press("Control+Enter");
    await page.waitForURL(/g0\.expr=count/);
    check(await page.locator("svg.chart path").count() === 1, `${name}: a line is drawn`);
    await page.getByRole("link", { name: "Table" }).click();
    check(await page.locator("svg.chart").count() === 0 && await page.locator("tbody tr").count() === 1, `${name}: the table alone`);
    await page.getByRole("link", { name: "Explain" }).click();
    check(await page.locator(".steps li").count() === 2, `${name}: two steps are explained`);
    check(page.url().includes("g0.tab=explain"), `${name}: the tab is in the address`);
    await page.goBack();
    check(await page.locator("tbody tr").count() === 1, `${name}: back goes back`);
    // Names outside of the classic alphabet come in quotes, wherever they are written.
    for (const [begun, choice, expected] of [
      ["name", "named", "named"],
      ["odd", "odd.name", '{"odd.name"}'],
      ['{"odd.n', "odd.name", '{"odd.name'],
      ['{"odd.name", way', "way/of", '{"odd.name", "way/of"'],
      ['{"odd.name", "way/of"="i', "it", '{"odd.name", "way/of"="it'],
      ["sum by (way", "way/of", 'sum by ("way/of"'],
    ]) {
      const other = await open("/graph", width);
      await other.locator("#expr").focus();
      await other.keyboard.insertText(begun);
      await other.keyboard.press("Control+Space");
      await options(other).first().waitFor();
      const offered = await options(other).locator("> :first-child").allInnerTexts();
      for (let i = 0; i < offered.indexOf(choice); i += 1) await other.keyboard.press("ArrowDown");
      await other.keyboard.press("Enter");
      const value = await other.locator("#expr").inputValue();
      check(value === expected, `${name}: ${begun} becomes ${value}`);
      await other.close();
    }
    for (const [view, path] of [
      ["empty", "/graph"],
      ["graph", expression("up")],
      ["table", expression("up", "&g0.tab=table")],
      ["explain", expression('sum by (job) (rate(up{job=~".+"}[5m])) / on (job) group_left () count by (job) (up) > 0', "&g0.tab=explain")],
      ["error", expression("sum(rte(up[5min]))\n  / rate(up)")],
      ["typo", expression("sum(rte(up[5m]))\n  / rate(up)")],
      ["nothing", expression("upp")],
    ]) {
      const seen = await open(path, width);
      const wide = await seen.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      check(wide <= 0, `${name} ${view}: ${wide} pixels must be scrolled to the side`);
      if (view === "typo") check((await seen.locator("mark").allInnerTexts()).join("|") === "rte", `${name}: the wrong place is marked`);
      if (view === "nothing") check((await seen.locator(".note").innerText()).includes("did you mean up?"), `${name}: what was meant`);
      const small = await seen.evaluate(() => [...document.querySelectorAll("main button, main .tabs a, main select, main input:not([type=hidden])")].filter((e) => e.getBoundingClientRect().height < 44).length);
      check(small === 0, `${name} ${view}: ${small} controls are too small for a finger`);
      await shot(seen, `${name}-${view}`);
      await seen.close();
    }
    await page.close();
  }
} catch (e) {
  wrong.push(String(e));
} finally {
  await browser.close();
}
for (const what of wrong) console.log(what);
process.exitCode = wrong.length > 0 ? 1 : 0;
