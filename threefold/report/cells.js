// A click on a score opens its cell: every learner's final score, curves, episode lengths, what training logged, videos.
// Its address is the page's with #cell=TASK/ROW, so it can be linked to.
(() => {
  const known = JSON.parse(document.getElementById("details").textContent);
  const dialog = document.getElementById("cell");
  const WIDTH = 320, HEIGHT = 200, LEFT = 48, RIGHT = 16, TOP = 10, BOTTOM = 36;
  const LOWEST = -0.5, HIGHEST = 1.5; // scores beyond are cut, as in the figures

  const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const minus = (text) => text.replace("-", "−");
  const plain = (x) => {
    const size = Math.abs(x);
    if (size >= 1e6) return minus(`${+(x / 1e6).toPrecision(3)}M`);
    if (size >= 1e4) return minus(`${+(x / 1e3).toPrecision(3)}k`);
    return minus(`${+x.toPrecision(3)}`);
  };

  function ticks(low, high) {
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((s) => s >= rough * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
    return found;
  }

  function extent(values, least = []) {
    const all = [...values, ...least];
    const low = Math.min(...all), high = Math.max(...all);
    const room = low === high ? Math.abs(low) * 0.1 || 0.1 : 0;
    return [low - room, high + room];
  }

  // An SVG of lines [{points: [[x, y]], colour, name}], dots likewise, and level lines [{y, dash, name}].
  function chart({ title, x, y, lines = [], dots = [], levels = [], across, up, rows }) {
    const [left, right] = across, [low, high] = up;
    const px = (v) => LEFT + ((v - left) / (right - left)) * (WIDTH - LEFT - RIGHT);
    const py = (v) => HEIGHT - BOTTOM - ((Math.min(Math.max(v, low), high) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
    const at = (n) => n.toFixed(1);
    const drawn = [];
    for (const v of ticks(left, right))
      drawn.push(`<path class="grid" d="M${at(px(v))} ${TOP}V${HEIGHT - BOTTOM}"/><text x="${at(px(v))}" y="${HEIGHT - BOTTOM + 13}" text-anchor="middle">${plain(v)}</text>`);
    for (const [v, text] of rows || ticks(low, high).map((v) => [v, plain(v)]))
      drawn.push(`<path class="grid" d="M${LEFT} ${at(py(v))}H${WIDTH - RIGHT}"/><text x="${LEFT - 5}" y="${at(py(v) + 3.5)}" text-anchor="end">${text}</text>`);
    for (const { y: v, dash, name } of levels)
      drawn.push(`<path d="M${LEFT} ${at(py(v))}H${WIDTH - RIGHT}" stroke="#555" stroke-dasharray="${dash}" fill="none"><title>${name}</title></path>`);
    for (const { points, colour, name } of lines) {
      const path = points.length > 1 ? points.map(([a, b]) => `${at(px(a))} ${at(py(b))}`).join("L") : `${LEFT} ${at(py(points[0][1]))}L${WIDTH - RIGHT} ${at(py(points[0][1]))}`;
      drawn.push(`<path d="M${path}" stroke="${colour}" stroke-width="1.3" stroke-opacity=".8" fill="none"><title>${name}</title></path>`);
    }
    for (const { points, colour, name } of dots)
      drawn.push(`<g fill="${colour}" fill-opacity=".3"><title>${name}</title>${points.map(([a, b]) => `<circle cx="${at(px(a))}" cy="${at(py(b))}" r="2.4"/>`).join("")}</g>`);
    drawn.push(`<path d="M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}" stroke="#555" fill="none"/>`);
    drawn.push(`<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escaped(x)}</text>`);
    if (y) drawn.push(`<text transform="translate(10 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escaped(y)}</text>`);
    return `<figure class="chart"><figcaption>${escaped(title)}</figcaption><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}">${drawn.join("")}</svg></figure>`;
  }

  const named = (learner) => `${learner.number} trajectories, seed ${learner.seed}`;

  function curves(cell) {
    const lines = cell.learners.filter((one) => one.curve.length).map((one) => ({ points: one.curve, colour: cell.shades[one.number], name: named(one) }));
    if (!lines.length) return "";
    const points = lines.flatMap((line) => line.points);
    const stochastic = known.stochastic[cell.task];
    const levels = [
      { y: 1, dash: "5 2", name: "expert" },
      { y: 0, dash: "1 2", name: "random" },
      { y: stochastic, dash: "5 2 1 2", name: "expert, stochastic" },
    ];
    const [low, high] = extent(points.map((p) => p[1]), [0, 1]);
    return chart({
      title: "Learning curves", x: "environment steps per learner", y: "score", lines, levels,
      across: extent(points.map((p) => p[0]), [0]), up: [Math.max(low, LOWEST) - 0.04, Math.min(high, HIGHEST) + 0.04],
    });
  }

  function lengths(cell) {
    const learners = cell.learners.filter((one) => one.lengths.length);
    if (!learners.length) return "";
    const numbers = Object.keys(cell.shades).map(Number).sort((a, b) => a - b);
    const beside = new Map(); // learners of one number lie in lanes of their own
    const dots = learners.map((one) => {
      const lane = beside.get(one.number) || 0;
      beside.set(one.number, lane + 1);
      const count = learners.filter((other) => other.number === one.number).length;
      const height = numbers.indexOf(one.number) + ((lane + 0.5) / count - 0.5) * 0.7;
      return { points: one.lengths.map((length) => [length, height]), colour: cell.shades[one.number], name: named(one) };
    });
    return chart({
      title: "Lengths of the final episodes", x: "steps", y: "trajectories", dots, across: extent(learners.flatMap((one) => one.lengths), [0]),
      up: [-0.6, numbers.length - 0.4], rows: numbers.map((number, i) => [i, number]),
    });
  }

  function training(cell) {
    const x = cell.axis === "env_steps" ? "environment steps per learner" : "iteration";
    return Object.entries(cell.training).map(([metric, learners]) => {
      const lines = learners.map((one) => ({ points: one.curve, colour: cell.shades[one.number], name: named(one) }));
      const points = lines.flatMap((line) => line.points);
      return chart({
        title: metric.replaceAll("_", " "), x, lines, across: extent(points.map((p) => p[0]), [0]), up: extent(points.map((p) => p[1])),
      });
    });
  }

  const middle = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

  function scores(cell) {
    const rows = Object.keys(cell.shades).map(Number).sort((a, b) => a - b).map((number) => {
      const learners = cell.learners.filter((one) => one.number === number);
      const all = learners.flatMap((one) => one.lengths);
      const each = learners.map((one) => `<span title="seed ${one.seed}">${one.failed ? "failed" : minus(one.score.toFixed(2))}</span>`).join(" ");
      const length = all.length ? `${Math.min(...all)}, ${middle(all)}, ${Math.max(...all)}` : "–";
      return `<tr><td class="number"><i style="background:${cell.shades[number]}"></i>${number}</td><td class="number each">${each || "–"}</td><td class="number">${length}</td></tr>`;
    });
    const seeds = [...new Set(cell.learners.map((one) => one.seed))].sort((a, b) => a - b).join(", ");
    return `<table><thead><tr><th class="number">Trajectories</th><th class="number">Final score of seeds ${seeds || "–"}</th><th class="number">Steps of an episode: least, median, most</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }

  function notes(cell) {
    const found = cell.learners.filter((one) => one.failed).map((one) => `${named(one)}: ${one.failed}`);
    if (found.length) found.unshift("Failed learners count as score 0.");
    if (cell.missing) found.push(`${cell.missing} learners have no result.`);
    if (cell.short) found.push("Short budget: how far learners get in that time, not where they end.");
    return found.map((note) => `<p class="note">${escaped(note)}</p>`).join("");
  }

  function videos(cell) {
    return known.videos[cell.task].map((one) => `<figure class="chart"><figcaption>${escaped(one.name)}</figcaption><img alt="" loading="lazy" src="${one.source}"></figure>`).join("");
  }

  function open() {
    const key = decodeURIComponent(location.hash).replace("#cell=", "");
    const cell = Object.hasOwn(known.cells, key) ? known.cells[key] : null;
    if (!cell) {
      if (dialog.open) dialog.close();
      return;
    }
    dialog.querySelector("h3").textContent = cell.title;
    const logged = training(cell);
    dialog.querySelector("div").innerHTML = [
      `<div class="scroll">${scores(cell)}</div>`, notes(cell), `<div class="charts">${curves(cell)}${lengths(cell)}${videos(cell)}</div>`,
      logged.length ? `<h4>Training</h4><div class="charts">${logged.join("")}</div>` : "",
    ].join("");
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#cell=")) history.replaceState(null, "", location.pathname + location.search);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
  addEventListener("hashchange", open);
  open();
})();
