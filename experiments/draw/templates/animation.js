'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const still = window.matchMedia('(prefers-reduced-motion: reduce)');
const last = data.rounds.length, named = 8;
const at = (id) => document.getElementById(id);
let language = data.language, round = 0, part = 0, playing = false, before = 0;

const say = (key, values = {}) =>
  data.texts[language][key].replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
const ranksIn = (bits) => [...Array(data.ranks).keys()].filter((rank) => bits & (1 << rank));
const moment = (number) => data.moments[number].replace('.', language === 'pt' ? ',' : '.');

function element(name, attributes = {}, parent = null, text = null) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// --- where everything stands: ranks on a circle, the chunks of a rank in a small grid --------------------------

const columns = data.chunks <= 4 ? Math.max(1, data.chunks) : Math.ceil(Math.sqrt(data.chunks));
const lines = Math.max(1, Math.ceil(data.chunks / columns));
const spacing = data.ranks > 1 ? 2 * 150 * Math.sin(Math.PI / data.ranks) : 300;
const size = Math.max(8, Math.min(27, Math.floor(Math.min(0.74 * spacing, 112) / columns)));
const radius = data.ranks > 1 ? Math.min(150, 190 - columns * size / 2, 172 - lines * size / 2) : 0;
const centre = (rank) => {
  const angle = 2 * Math.PI * rank / data.ranks - Math.PI / 2;
  return [200 + radius * Math.cos(angle), 206 + radius * Math.sin(angle)];
};
const place = (rank, chunk) => {
  const [x, y] = centre(rank), column = chunk % columns, line = Math.floor(chunk / columns);
  return [x + (column - (columns - 1) / 2) * size, y + (line - (lines - 1) / 2) * size];
};

const stage = at('stage');
const marker = element('marker', {
  id: 'arrow', viewBox: '0 0 10 10', refX: 9, refY: 5, markerWidth: 6, markerHeight: 6, orient: 'auto-start-reverse',
}, element('defs', {}, stage));
element('path', { d: 'M0 1L10 5L0 9z', class: 'head' }, marker);
const ways = element('g', {}, stage), cells = element('g', {}, stage), tokens = element('g', {}, stage);
const caption = element('text', { x: 200, y: 198, class: 'centre' }, stage);
const clock = element('text', { x: 200, y: 218, class: 'centre small' }, stage);

function drawCells() {
  cells.replaceChildren();
  for (let rank = 0; rank < data.ranks; rank += 1) {
    const [x, y] = centre(rank);
    const above = { x, y: y - lines * size / 2 - 4, 'font-size': Math.min(13, 5 + spacing / 12), 'font-weight': 700 };
    element('text', above, cells, `${say('rank')} ${rank}`);
    for (let chunk = 0; chunk < data.chunks; chunk += 1) drawCell(rank, chunk);
  }
}

function drawCell(rank, chunk) {
  const [x, y] = place(rank, chunk), count = ranksIn(data.states[round][rank][chunk]).length;
  const wanted = data.wanted[chunk], box = { x: x - size / 2 + 1, width: size - 2 };
  const complete = count > 0 && count === wanted;
  const tall = (size - 2) * Math.min(1, count / wanted || 0);
  element('rect', { ...box, y: y - size / 2 + 1, height: size - 2, class: complete ? 'cell complete' : 'cell' }, cells);
  element('rect', { ...box, y: y + size / 2 - 1 - tall, height: tall, fill: data.colours[chunk] }, cells);
  if (count) element('text', { x, y: y + size * 0.19, 'font-size': size * 0.56, class: 'count' }, cells, count);
}

function drawWays() {
  ways.replaceChildren();
  tokens.replaceChildren();
  if (round === last) return;
  for (const [source, dest, chunks, folds] of data.rounds[round]) {
    const [from, to] = [centre(source), centre(dest)], far = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const inset = Math.min(far / 2 - 6, Math.max(columns, lines) * size / 2 + 6);
    const [dx, dy] = [(to[0] - from[0]) / far * inset, (to[1] - from[1]) / far * inset];
    const ends = { x1: from[0] + dx, y1: from[1] + dy, x2: to[0] - dx, y2: to[1] - dy };
    element('line', { ...ends, class: 'way', 'marker-end': 'url(#arrow)' }, ways);
    for (const chunk of chunks) addToken(source, dest, chunk, folds);
  }
}

function addToken(source, dest, chunk, folds) {
  const token = element('g', {}, tokens), half = Math.max(6, size * 0.4), fill = data.colours[chunk];
  if (folds) element('circle', { r: half, fill, class: 'token' }, token);
  else element('rect', { x: -half, y: -half, width: 2 * half, height: 2 * half, fill, class: 'token' }, token);
  element('text', { y: half * 0.4, 'font-size': half * 1.1, class: 'token-label' }, token, chunk);
  token.way = [place(source, chunk), place(dest, chunk)];
}

function moveTokens() {
  const share = part < 0.5 ? 2 * part * part : 1 - 2 * (1 - part) ** 2;
  tokens.setAttribute('visibility', part > 0 ? 'visible' : 'hidden');
  for (const token of tokens.children) {
    const [[x0, y0], [x1, y1]] = token.way;
    token.setAttribute('transform', `translate(${x0 + (x1 - x0) * share} ${y0 + (y1 - y0) * share})`);
  }
}

// --- words -----------------------------------------------------------------------------------------------------

function drawTable() {
  const table = at('table'), earlier = data.states[Math.max(0, round - 1)];
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  head.append(header(''));
  for (let chunk = 0; chunk < data.chunks; chunk += 1) {
    const cell = header(`${say('chunk')} ${chunk}`), swatch = document.createElement('span');
    swatch.className = 'swatch';
    swatch.style.background = data.colours[chunk];
    cell.prepend(swatch);
    head.append(cell);
  }
  const body = table.createTBody();
  for (let rank = 0; rank < data.ranks; rank += 1) {
    const row = body.insertRow();
    row.append(header(`${say('rank')} ${rank}`, 'row'));
    for (let chunk = 0; chunk < data.chunks; chunk += 1) {
      holding(row.insertCell(), data.states[round][rank][chunk], data.wanted[chunk], earlier[rank][chunk]);
    }
  }
}

function header(text, scope = 'col') {
  const cell = document.createElement('th');
  cell.scope = scope;
  cell.textContent = text;
  return cell;
}

function holding(cell, bits, wanted, earlier) {
  const from = ranksIn(bits), small = document.createElement('small');
  cell.textContent = from.length ? `${from.length}/${wanted}` : '–';
  small.textContent = from.length ? `{${from.join(' ')}}` : say('nothing');
  cell.append(small);
  cell.classList.toggle('changed', bits !== earlier);
  cell.classList.toggle('complete', from.length > 0 && from.length === wanted);
}

function drawWords() {
  document.documentElement.lang = language === 'pt' ? 'pt-BR' : 'en';
  at('algorithm').textContent = data.algorithm;
  at('collective').textContent = data.collective;
  at('facts').textContent = say('facts', data);
  for (const key of ['back', 'step', 'circle', 'square', 'holds', 'counts', 'keys']) at(key).textContent = say(key);
  at('play').textContent = say(playing ? 'pause' : 'play');
  at('speed-label').textContent = `${say('speed')} `;
  at('language').textContent = say('other');
  stage.setAttribute('aria-label', say('stage'));
  at('slider').setAttribute('aria-label', say('slider'));
  const where = round ? say('round', { round, rounds: last }) : say('start');
  at('where').textContent = caption.textContent = where;
  at('slider').setAttribute('aria-valuetext', where);
  clock.textContent = round ? say('until', { moment: moment(round - 1) }) : '';
  at('said').textContent = round === last ? say('done') : say('next', { messages: coming() });
}

function coming() {
  const told = data.rounds[round].slice(0, named).map(([source, dest, chunks, folds]) => {
    const listed = `${say(chunks.length === 1 ? 'chunk' : 'chunks')} ${chunks.join(' ')}`;
    return say(folds ? 'combine' : 'copy', { source, dest, chunks: listed });
  });
  const count = data.rounds[round].length - told.length;
  if (count) told.push(say('more', { count }));
  return told.length ? `${told.join('; ')}.` : `${say('idle')}.`;
}

// --- time ------------------------------------------------------------------------------------------------------

function show() {
  drawCells();
  drawWays();
  moveTokens();
  drawTable();
  drawWords();
  at('slider').value = round;
  at('back').disabled = round === 0;
  at('step').disabled = round === last;
  document.documentElement.dataset.round = round;
}

function go(number) {
  round = Math.max(0, Math.min(last, number));
  part = 0;
  show();
}

function play(wanted) {
  if (wanted && round === last) go(0);
  playing = wanted && last > 0;
  document.documentElement.dataset.playing = playing;
  drawWords();
  if (!playing) {
    part = 0;
    moveTokens();
    return;
  }
  before = performance.now();
  requestAnimationFrame(tick);
}

function tick(now) {
  if (!playing) return;
  const elapsed = (now - before) / 1400 * Number(at('speed').value);
  part = still.matches ? 0.5 : Math.min(1, elapsed);
  moveTokens();
  if (elapsed >= 1) {
    before = now;
    go(round + 1);
    if (round === last) {
      play(false);
      return;
    }
  }
  requestAnimationFrame(tick);
}

const stop = (number) => { play(false); go(number); };
at('play').addEventListener('click', () => play(!playing));
at('back').addEventListener('click', () => stop(round - 1));
at('step').addEventListener('click', () => stop(round + 1));
at('slider').addEventListener('input', (event) => stop(Number(event.target.value)));
at('language').addEventListener('click', () => { language = language === 'en' ? 'pt' : 'en'; show(); });
document.addEventListener('keydown', (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest('select, input, .scroll')) return;
  const keys = {
    ArrowRight: () => stop(round + 1), ArrowLeft: () => stop(round - 1), Home: () => stop(0), End: () => stop(last),
  };
  if (event.key === ' ' && !event.target.closest('button')) keys[' '] = () => play(!playing);
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
at('slider').max = last;
show();
document.documentElement.dataset.ready = '1';
