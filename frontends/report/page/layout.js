// Where is each node of a graph drawn?  In layers, as Sugiyama, Tagawa and Toda have it (IEEE Trans. SMC 11(2), 1981): ranks by the
// longest path, order within a rank by barycenters, places by least squares; long edges run through bends of their own.

const GAP = { x: 18, y: 34, bend: 10 };
const MOST_BENDS = 20000;  // beyond these, long edges are drawn straight

// `sizes` [[width, height]] of nodes in program order, `edges` [[from, to]]. Gives { x, y (of the left upper corners), width, height,
// bends: for each edge the points that it passes }.
function layered(sizes, edges) {
  const count = sizes.length, forward = edges.map(([a, b]) => a < b ? [a, b] : [b, a]);
  const rank = new Int32Array(count), reads = Array.from({ length: count }, () => []), isRead = Array.from({ length: count }, () => []);
  for (const [a, b] of forward) { reads[b].push(a); isRead[a].push(b); }
  for (let i = 0; i < count; i++) for (const a of reads[i]) rank[i] = Math.max(rank[i], rank[a] + 1);
  for (let i = count - 1; i >= 0; i--)  // what reads nothing stands right above its first reader
    if (!reads[i].length && isRead[i].length) rank[i] = isRead[i].reduce((least, b) => Math.min(least, rank[b]), Infinity) - 1;
  const width = sizes.map(([w]) => w), ranks = [], above = [], below = [];
  const place = (i, r) => { (ranks[r] ||= []).push(i); above[i] = []; below[i] = []; };
  for (let i = 0; i < count; i++) place(i, rank[i]);
  for (let r = 0; r < ranks.length; r++) ranks[r] ||= [];
  let bends = forward.reduce((n, [a, b]) => n + rank[b] - rank[a] - 1, 0);
  const isBent = bends <= MOST_BENDS, chains = forward.map(([a, b]) => {
    const chain = [];
    let last = a;
    for (let r = rank[a] + 1; isBent && r < rank[b]; r++) {
      const bend = width.push(GAP.bend) - 1;
      place(bend, r);
      chain.push(bend);
      above[bend].push(last); below[last].push(bend);
      last = bend;
    }
    if (rank[b] > rank[a]) { above[b].push(last); below[last].push(b); }
    return chain;
  });
  const order = new Float64Array(width.length);
  const number = (row) => row.forEach((i, at) => { order[i] = at; });
  ranks.forEach(number);
  const sweep = (row, next) => {
    const key = new Map(row.map((i) => [i, next[i].length ? next[i].reduce((sum, j) => sum + order[j], 0) / next[i].length : order[i]]));
    row.sort((i, j) => key.get(i) - key.get(j) || order[i] - order[j]);
    number(row);
  };
  const sweeps = width.length > 4000 ? 2 : 6;
  for (let s = 0; s < sweeps; s++) {
    for (let r = 1; r < ranks.length; r++) sweep(ranks[r], above);
    for (let r = ranks.length - 2; r >= 0; r--) sweep(ranks[r], below);
  }
  // centers: as near to the mean of the neighbours as order and gaps allow
  const x = new Float64Array(width.length);
  for (const row of ranks) spread(row, x, width, (i) => 0);
  for (let s = 0; s < sweeps; s++) {
    const mean = (next) => (i) => next[i].length ? next[i].reduce((sum, j) => sum + x[j], 0) / next[i].length : x[i];
    for (let r = 1; r < ranks.length; r++) spread(ranks[r], x, width, mean(above));
    for (let r = ranks.length - 2; r >= 0; r--) spread(ranks[r], x, width, mean(below));
  }
  let left = Infinity, right = 0, top = 0;
  for (let i = 0; i < width.length; i++) { left = Math.min(left, x[i] - width[i] / 2); right = Math.max(right, x[i] + width[i] / 2); }
  if (!width.length) left = 0;
  const y = new Float64Array(width.length);
  for (const row of ranks) {
    const height = row.reduce((most, i) => Math.max(most, i < count ? sizes[i][1] : 0), 0);
    for (const i of row) y[i] = i < count ? top + (height - sizes[i][1]) / 2 : top + height / 2;
    top += height + GAP.y;
  }
  return { x: Array.from({ length: count }, (_, i) => x[i] - width[i] / 2 - left), y, width: right - left, height: Math.max(0, top - GAP.y),
           bends: chains.map((chain) => chain.map((i) => [x[i] - left, y[i]])) };
}

// Centers of a row in its order, at least a gap apart, that miss `wanted(i)` by the least squares: pool adjacent violators (Ayer and
// others, Ann. Math. Stat. 26(4), 1955) on the wishes less the room that those to the left take.
function spread(row, x, width, wanted) {
  const pools = [];  // sum of wishes, how many
  const room = [];
  let taken = 0;
  row.forEach((i, at) => {
    if (at) taken += (width[row[at - 1]] + width[i]) / 2 + GAP.x;
    room.push(taken);
    let pool = [wanted(i) - taken, 1];
    while (pools.length && pools.at(-1)[0] / pools.at(-1)[1] > pool[0] / pool[1]) {
      const [sum, n] = pools.pop();
      pool = [pool[0] + sum, pool[1] + n];
    }
    pools.push(pool);
  });
  let at = 0;
  for (const [sum, n] of pools) for (let k = 0; k < n; k++, at++) x[row[at]] = sum / n + room[at];
}
