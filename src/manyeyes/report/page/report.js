"use strict";
// Photos are shown a page at a time: a thousand pictures at once would make a phone slow.
const PAGE = 60;
const data = JSON.parse(document.getElementById("data").textContent);
const gallery = document.getElementById("gallery"), more = document.getElementById("more");
const count = document.getElementById("count"), dialog = document.getElementById("one");
const chosen = { kind: "all", truth: "", text: "" };
let found = [], shown = 0;

const make = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
};
const percent = (value) => `${(100 * value).toFixed(1)}%`;
const name = (index) => data.classes[index];
const picture = (photo) =>
  photo.picture
    ? make("img", { src: photo.picture, alt: `photo of ${name(photo.truth)}`, decoding: "async" })
    : make("span", { className: "nothing", textContent: "no picture" });

const kinds = {
  all: () => true,
  right: (photo) => photo.truth === photo.said,
  wrong: (photo) => photo.truth !== photo.said,
  disagreement: (photo) => photo.disagree,
  doubted: (photo) => photo.doubted,
};

function filter() {
  found = data.photos.filter(
    (photo) =>
      kinds[chosen.kind](photo) &&
      (chosen.truth === "" || photo.truth === +chosen.truth || photo.said === +chosen.truth) &&
      photo.path.toLowerCase().includes(chosen.text),
  );
  gallery.replaceChildren();
  shown = 0;
  count.textContent = `${found.length} ${found.length === 1 ? "photo" : "photos"}`;
  show();
}

function show() {
  for (const photo of found.slice(shown, shown + PAGE)) gallery.append(tile(photo));
  shown = Math.min(shown + PAGE, found.length);
  more.hidden = shown >= found.length;
}

function tile(photo) {
  const isRight = photo.truth === photo.said;
  const said = make("span", {
    className: isRight ? "right" : "wrong",
    textContent: `${isRight ? "✓" : "✗"} ${name(photo.said)}, ${percent(photo.probabilities[0][1])}`,
  });
  const truth = make("span", { className: "faint", textContent: isRight ? photo.path : `is ${name(photo.truth)}` });
  const button = make("button", { type: "button", onclick: () => open(photo) }, picture(photo));
  button.append(make("div", { className: "what" }, said, truth));
  return make("li", {}, button);
}

function open(photo) {
  const close = make("button", { type: "button", textContent: "Close", onclick: () => dialog.close() });
  const bars = make("div", { className: "bars" });
  for (const [index, probability] of photo.probabilities) bars.append(...bar(name(index), probability, percent(probability)));
  const parts = [
    make("header", {}, make("h3", { id: "path", textContent: photo.path }), close),
    picture(photo),
    make("p", {}, sentence(photo)),
    bars,
  ];
  if (photo.votes.length) parts.push(make("h3", { textContent: photo.asked ? "Votes, had all been asked" : "Votes" }), make("div", { className: "scroll" }, votes(photo)));
  dialog.replaceChildren(...parts);
  dialog.showModal();
}

const bar = (label, share, text) => {
  const filled = make("b");
  filled.style.width = percent(Math.max(0, Math.min(1, share)));
  return [make("span", { textContent: label }), make("i", {}, filled), make("span", { textContent: text })];
};

function sentence(photo) {
  const truth = photo.truth === photo.said ? "That is right." : `It is labelled ${name(photo.truth)}.`;
  const asked = photo.asked ? ` ${photo.asked} of ${data.backbones} backbones were asked.` : "";
  const doubted = photo.doubted ? " Its label is likely wrong." : "";
  return `All together say ${name(photo.said)}. ${truth}${doubted}${asked}`;
}

function votes(photo) {
  const head = make("tr", {}, ...["", "says", "", data.counted].map((text, column) => make("th", { textContent: text, scope: "col", className: column > 1 ? "number" : "" })));
  const rows = photo.votes.map(([expert, said, probability, counted]) =>
    make(
      "tr",
      {},
      make("td", { textContent: data.experts[expert] }),
      make("td", { textContent: name(said), className: said === photo.truth ? "right" : "wrong" }),
      make("td", { textContent: percent(probability), className: "number" }),
      make("td", { textContent: counted ?? "", className: "number" }),
    ),
  );
  return make("table", { className: "scores" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

for (const button of document.querySelectorAll("[data-kind]")) {
  button.addEventListener("click", () => {
    chosen.kind = button.dataset.kind;
    for (const other of document.querySelectorAll("[data-kind]")) other.setAttribute("aria-pressed", other === button);
    filter();
  });
}
document.getElementById("truth").addEventListener("change", (event) => { chosen.truth = event.target.value; filter(); });
document.getElementById("text").addEventListener("input", (event) => { chosen.text = event.target.value.toLowerCase(); filter(); });
more.addEventListener("click", () => { const first = shown; show(); gallery.children[first]?.querySelector("button").focus(); });
for (const open_ of document.querySelectorAll("[data-photo]")) open_.addEventListener("click", () => open(data.photos[+open_.dataset.photo]));
for (const place of document.querySelectorAll("[data-picture]")) place.replaceWith(picture(data.photos[+place.dataset.picture]));
filter();
