// What belongs together?  Following marks lights up everything that carries one, in every pane.

const LEVELS = ["", "kernel", "origin", "same", "exact"];  // by strength
const LEVEL_OF = { k: 1, l: 2, w: 3, v: 4 };
let followed = new Map();  // number of a mark -> strength

function strength(marks) {
  let best = 0;
  if (followed.size) for (const mark of marks) best = Math.max(best, followed.get(mark) || 0);
  return best;
}

const letter = (mark) => report.marks.names[mark][0];
const numberOf = (mark) => +report.marks.names[mark].slice(1);

// Follow `marks`; `from` is the pane where they were clicked, which stays where it is. `words` say what was clicked.
function follow(marks, from, words) {
  followed = new Map(marks.map((mark) => [mark, LEVEL_OF[letter(mark)]]));
  if (marks.length && ![...followed.values()].includes(1))  // an origin leads to the kernels that compute it
    for (const mark of marks) if (letter(mark) === "l") for (const kernel of report.kernelsOf.get(mark) || []) followed.set(kernel, 1);
  describe(marks, words);
  for (const pane of Object.values(panes)) if (!pane.section.hidden) pane.reveal(from);
}

function describe(marks, words) {
  const selection = document.getElementById("selection"), release = document.getElementById("release");
  release.hidden = !marks.length;
  selection.replaceChildren();
  if (!marks.length) {
    selection.textContent = "Click a value, a box, a line, a slot or a kernel to follow it everywhere.";
    return;
  }
  const add = (text, isBold) => {
    if (selection.childNodes.length) selection.append("  ·  ");
    selection.append(isBold ? make("b", "", text) : text);
  };
  if (words) add(words, true);
  for (const mark of marks) if (letter(mark) === "l") add(report.marks.origins[numberOf(mark)]);
  const kernels = [...followed].filter(([, level]) => level === 1).map(([mark]) => numberOf(mark));
  if (report.steps) for (const kernel of kernels.slice(0, 3)) {
    const launches = report.steps.launches.filter((launch) => launch.kernel === kernel).length;
    add(`kernel ${report.steps.kernels[kernel]}` + (launches > 1 ? `, ${launches} launches` : ""));
  }
  if (kernels.length > 3) add(`${kernels.length - 3} more kernels`);
  selection.title = selection.textContent;
}
