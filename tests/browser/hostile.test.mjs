// Files that attack, opened in a real browser in every way that a page has (promise 16): no script of theirs runs.
// To see it red: leave the sandbox out of the policy and the type out of the closed list, in src/attachments/response.rs
// and media.rs. That the corpus would run is seen at the same time, at a server that sends what it was given.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import test from "node:test";
import { Pane, launch, startDemo } from "./harness.mjs";

/** What stands in a console where a script of a hostile file ran. */
const RAN = "hostile script ran";
const RUN = `console.log("${RAN}")`;
/** Markup that runs in as many ways as markup has. */
const HTML = `<!doctype html><title>x</title><script>${RUN}</script><img src=x onerror='${RUN}'><svg onload='${RUN}'></svg>
<body onload='${RUN}'><iframe srcdoc="<script>${RUN.replaceAll('"', "&quot;")}</script>"></iframe>
<meta http-equiv=refresh content="0;url=javascript:${encodeURIComponent(RUN)}"><details open ontoggle='${RUN}'>`;
const SVG = `<svg xmlns="http://www.w3.org/2000/svg" onload='${RUN}' width="9" height="9"><script>${RUN}</script>
<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><img src="x" onerror='${RUN}'/></body></foreignObject></svg>`;
const XSL = `<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="#s"?><!DOCTYPE d [<!ATTLIST xsl:stylesheet id ID #REQUIRED>]>
<d><xsl:stylesheet id="s" version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/">
<html><body><script>${RUN}</script></body></html></xsl:template></xsl:stylesheet></d>`;
const XHTML = `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script>${RUN}</script></html>`;
const PDF = `%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert\\(1\\);${RUN.replaceAll(/[()]/g, "\\$&")})>>>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>`;
const MHTML = `From: <x>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="b"; type="text/html"\r\n\r\n--b\r\n` +
  `Content-Type: text/html\r\nContent-Location: http://127.0.0.1/\r\n\r\n${HTML}\r\n--b--\r\n`;
const bytes = (...parts) => Buffer.concat(parts.map((it) => Buffer.from(it, typeof it === "string" ? "latin1" : undefined)));
const utf16 = (text) => bytes([0xff, 0xfe], Buffer.from(text, "utf16le"));
const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** A picture, sound or archive by its first bytes, and a script or page by what follows. */
const POLYGLOTS = {
  "a GIF that is a script": ["GIF89a/*", `*/=1;${RUN}`], "a GIF that is a page": ["GIF89a", HTML],
  "a PNG that is a page": [PNG, HTML], "a JPEG that is a page": [[0xff, 0xd8, 0xff, 0xe0], HTML],
  "a JPEG that is a script": [[0xff, 0xd8, 0xff, 0xe0, 0x2f, 0x2a], `*/=${RUN}`],
  "a BMP that is a script": ["BM/*", `*/=1;${RUN}`], "a WAV that is a script": ["RIFF/*", `WAVEfmt */=1;${RUN}`],
  "a WebP that is a page": ["RIFF....WEBP", HTML], "an MP4 that is a page": [[0, 0, 0, 0x18], "ftypmp42", HTML],
  "a ZIP that is a page": ["PK\x03\x04", HTML], "a PDF that is a page": ["%PDF-1.7\n", HTML],
  "an icon that is a page": [[0, 0, 1, 0], HTML],
};
const TYPES = ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml", "text/javascript", "image/png",
  "application/pdf", "text/plain", "", "text/html; charset=utf-7", "multipart/related", "application/x-shockwave-flash", "text/css",
  "application/rss+xml", "application/wasm", "application/json", "text/event-stream", "text/vtt", "application/octet-stream"];
/** Content that runs where it is taken for what it is, in each type that it might be declared as. */
const CONTENTS = { html: HTML, svg: SVG, xsl: XSL, xhtml: XHTML, js: RUN, mhtml: MHTML, pdf: PDF };
const CORPUS = [
  ...Object.entries(CONTENTS).flatMap(([name, content]) => TYPES.map((type) => ({ name: `x.${name}`, type, content: bytes(content) }))),
  ...Object.entries(POLYGLOTS).flatMap(([name, parts]) =>
    ["text/html", "text/javascript", "image/gif", ""].map((type) => ({ name: `${name}.html`, type, content: bytes(...parts) }))),
  { name: "utf7.html", type: "text/html; charset=utf-7", content: bytes(`+ADw-script+AD4-${RUN}+ADw-/script+AD4-`) },
  { name: "utf16.html", type: "text/html; charset=utf-16le", content: utf16(HTML) },
  { name: "utf16.svg", type: "image/svg+xml", content: utf16(SVG) },
  { name: "bom.html", type: "text/plain", content: bytes([0xef, 0xbb, 0xbf], HTML) },
  { name: "far.html", type: "text/html", content: bytes(" ".repeat(4_000), HTML) },
  { name: "nul.html", type: "text/html", content: bytes("\0".repeat(64), HTML) },
  { name: "iso-2022.html", type: "text/html; charset=iso-2022-jp", content: bytes(`\x1b(J${HTML}`) },
  { name: "x.wasm", type: "application/wasm", content: bytes([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) },
  { name: "x.hta", type: "application/hta", content: bytes(HTML) },
  { name: "x.appcache", type: "text/cache-manifest", content: bytes("CACHE MANIFEST\nFALLBACK:\n/ x\n") },
];
/** Of the corpus every so-manieth is tried. */
const STEP = process.env.HAGGLE_TORTURE === "full" ? 1 : 17;

/** A page that takes each link in every way that runs something. */
const embedding = (links) => `<!doctype html><meta charset=utf-8><body>${links.map((link) => {
  const it = link.replaceAll("&", "&amp;");
  return `<iframe src="${it}"></iframe><object data="${it}"></object><object data="${it}" type="text/html"></object><embed src="${it}">
    <embed src="${it}" type="image/svg+xml"><img src="${it}"><script src="${it}"></script><script type=module src="${it}"></script>
    <link rel=stylesheet href="${it}"><link rel=import href="${it}"><link rel=manifest href="${it}"><video src="${it}"></video>
    <audio src="${it}"></audio><svg><use href="${it}#x"/><image href="${it}"/></svg><video><track default src="${it}"></video>
    <iframe srcdoc="<iframe src='${it}'></iframe>"></iframe>`;
}).join("")}<script>for (const link of ${JSON.stringify(links)}) {
  const quiet = (it) => { try { it()?.catch?.(() => {}); } catch { /* refused */ } };
  quiet(() => import(link));
  quiet(() => { new Worker(link); });
  quiet(() => { new Worker(link, { type: "module" }); });
  quiet(() => { new SharedWorker(link); });
  quiet(() => navigator.serviceWorker?.register(link));
  quiet(() => WebAssembly.instantiateStreaming(fetch(link)));
}</script>`;

/**
 * How often scripts ran in a browser that opened these links, in a page of their own and in one that embeds them.
 * Where they run they may also close the page, or end the browser: that is the end of this page only.
 */
async function opened(origin, links, { theyRun = false } = {}) {
  let ran = 0;
  let browser;
  let context;
  const listen = (page) => {
    page.on("console", (message) => { if (message.text().includes(RAN)) ran += 1; });
    page.on("dialog", (dialog) => { ran += 1; dialog.dismiss().catch(() => {}); });
  };
  const inPage = async (work) => {
    if (!browser?.isConnected()) {
      browser = await launch();
      context = await browser.newContext({ acceptDownloads: false });
      context.on("page", listen);
      context.on("console", (message) => { if (message.worker?.() && message.text().includes(RAN)) ran += 1; });
    }
    const page = await context.newPage();
    try {
      await work(page);
    } catch (error) {
      if (!theyRun || !String(error).includes("has been closed")) throw error;
    }
    await page.close().catch(() => {});
  };
  // What is saved instead of shown ends the navigation.
  const unlessSaved = (error) => { if (!/Download|ERR_|interrupted/.test(String(error))) throw error; };
  try {
    for (const link of links) {
      await inPage((page) => page.goto(link, { waitUntil: "load", timeout: 10_000 }).catch(unlessSaved));
    }
    // A page of the files' own origin, and one of another.
    for (const from of [`${origin}/embedding`, "http://embedding.test/"]) {
      for (let n = 0; n < links.length; n += 12) {
        await inPage(async (page) => {
          await page.route(from, (route) => route.fulfill({ contentType: "text/html", body: embedding(links.slice(n, n + 12)) }), { times: 1 });
          await page.goto(from, { waitUntil: "load", timeout: 60_000 });
          await page.waitForTimeout(100);
        });
      }
    }
  } finally {
    await browser?.close();
  }
  return ran;
}

/** A server that sends what it was given, as what it was called. */
async function naive(corpus) {
  const server = createServer((request, response) => {
    const file = corpus[Number(request.url.slice(1))];
    response.writeHead(file ? 200 : 404, file?.type ? { "Content-Type": file.type } : {}).end(file?.content);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

test("no script of a hostile file runs, however it is opened", { timeout: 900_000 }, async () => {
  const corpus = CORPUS.filter((_, n) => n % STEP === 0);
  const [demo, control] = [await startDemo(), await naive(corpus)];
  try {
    const [{ id: room }] = (await Pane.call(demo.url, "Ada", "/v1/rooms")).rooms;
    const links = [];
    for (const { name, type, content } of corpus) {
      const attachment = { name, content_type: type, content: content.toString("base64") };
      const { id } = await Pane.call(demo.url, "Ada", `/v1/rooms/${room}/messages`, { content: "", attachment });
      const page = await Pane.call(demo.url, "Ada", `/v1/rooms/${room}?message_qty=1&message_before=${id + 1}`);
      links.push(new URL(page.messages[0].attachment.link, demo.url).href);
    }
    const ran = await opened(demo.url, links);
    const would = await opened(control.origin, corpus.map((_, n) => `${control.origin}/${n}`), { theyRun: true });
    console.log(`promise 16 | ${corpus.length} hostile files, each opened in 24 ways from two origins | ${ran} scripts ran; at a server without protection ${would}`);
    assert.ok(would > corpus.length, `the corpus is harmless: ${would}`);
    assert.equal(ran, 0);
  } finally {
    control.server.close();
    control.server.closeAllConnections();
    await demo.stop();
  }
});
