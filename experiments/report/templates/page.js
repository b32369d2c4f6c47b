"use strict";
// Draws the figures of this page, and redraws them when the reader chooses, hides a series or changes the theme.
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const hovers = JSON.parse(document.getElementById("hovers").textContent);
  const words = JSON.parse(document.getElementById("words").textContent);
  const hidden = new Set();
  const choices = {};

  // A CSS variable may hold light-dark(); only a property that is in use gives the colour that the theme made of it.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const resolved = (variable) => {
    if (variable === "var(--sans)") return getComputedStyle(document.body).fontFamily;
    probe.style.color = variable;
    return getComputedStyle(probe).color;
  };
  const themed = (value) => {
    if (typeof value === "string") return value.startsWith("var(") ? resolved(value) : value;
    if (Array.isArray(value)) return value.map(themed);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, themed(inner)]));
  };

  // On a narrow screen not every label fits: from the last one down, those that stand clear of their neighbour stay.
  const thinned = (axis, room) => {
    const [low, high] = axis.range;
    const at = (tick) => (axis.type === "log" ? Math.log10(tick) : tick);
    const place = (tick) => ((at(tick) - low) / (high - low)) * room;
    let free = Infinity;
    const kept = axis.tickvals.map((tick) => [tick, place(tick)]).reverse().filter(([, spot]) => {
      if (spot > free) return false;
      free = spot - 62;
      return true;
    }).map(([tick]) => tick);
    const stays = (_, index) => kept.includes(axis.tickvals[index]);
    return { ...axis, tickvals: axis.tickvals.filter(stays), ticktext: axis.ticktext.filter(stays), tickangle: 0 };
  };

  const draw = (plot) => {
    const forms = figures[plot.dataset.figure];
    const figure = themed(forms[choices[plot.dataset.by]] ?? Object.values(forms)[0]);
    for (const trace of figure.data) {
      trace.visible = !hidden.has(trace.meta?.algorithm);
      for (const key of ["text", "hovertext"]) if (trace[key]) trace[key] = trace[key].map((index) => hovers[index]);
    }
    const box = plot.getBoundingClientRect();
    const touch = matchMedia("(pointer: coarse)").matches;
    const layout = {
      ...figure.layout,
      width: Math.floor(box.width),
      height: Math.floor(box.height),
      dragmode: touch ? false : "zoom",
      xaxis: thinned(figure.layout.xaxis, box.width - 90),
    };
    return Plotly.react(plot, figure.data, layout, { displayModeBar: false, displaylogo: false, responsive: false });
  };
  const plots = [...document.querySelectorAll(".plot")];
  const redraw = () => Promise.all(plots.map(draw));

  const choose = (name, value) => {
    choices[name] = value;
    for (const input of document.querySelectorAll(`input[data-choice="${name}"]`)) input.checked = input.value === value;
    for (const select of document.querySelectorAll(`select[data-choice="${name}"]`)) select.value = value;
    for (const part of document.querySelectorAll(`[data-when="${name}"]`)) part.hidden = part.dataset.value !== value;
    return Promise.all(plots.filter((plot) => plot.dataset.by === name).map(draw));
  };
  for (const control of document.querySelectorAll("[data-choice]")) {
    const chosen = control.tagName === "SELECT" || control.checked;
    if (chosen) choices[control.dataset.choice] = control.value;
    control.addEventListener("change", () => choose(control.dataset.choice, control.value));
  }

  for (const button of document.querySelectorAll(".legend button[data-series]")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "true";
      const same = document.querySelectorAll(`.legend button[data-series="${CSS.escape(button.dataset.series)}"]`);
      for (const each of same) each.setAttribute("aria-pressed", String(!shown));
      hidden[shown ? "add" : "delete"](button.dataset.series);
      redraw();
    });
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = document.querySelector(".theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const name = () => { theme.textContent = isDark() ? words.light : words.dark; };
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
    redraw();
  });
  dark.addEventListener("change", () => { name(); redraw(); });
  // In print the style sheet makes the page light; the plots follow when they are drawn again.
  const printing = matchMedia("print");
  printing.addEventListener("change", redraw);

  let waiting = 0;
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // on a phone the address bar changes the height only
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 120);
  });

  name();
  for (const key of Object.keys(choices)) choose(key, choices[key]);
  redraw().then(() => { root.dataset.ready = "true"; });
})();
