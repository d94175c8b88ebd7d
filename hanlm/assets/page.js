// Draws the page's figures in the colours of the page's theme, and makes its tables copyable. No network.
(() => {
  "use strict";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Figures name colours as CSS variables, "var(--c1)"; Plotly wants values, and the values change with the theme.
  const colour = (text) => text.replace(/^var\((--[a-z0-9-]+)\)$/, (_, name) => css(name));
  const resolve = (node, key = "") => {
    if (typeof node === "string") return /color/i.test(key) ? colour(node) : node;
    if (Array.isArray(node)) return node.map((item) => resolve(item, key));
    if (node && typeof node === "object")
      return Object.fromEntries(Object.entries(node).map(([name, value]) => [name, resolve(value, name)]));
    return node;
  };

  const template = () => {
    const axis = {
      automargin: true, gridcolor: css("--grid"), linecolor: css("--line"), zerolinecolor: css("--line"),
      tickcolor: css("--line"), title: { font: { size: 13, color: css("--muted") } },
    };
    return {
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: css("--sans"), size: 13, color: css("--ink") },
        colorway: [1, 2, 3, 4, 5, 6, 7, 0].map((i) => css("--c" + i)),
        xaxis: { ...axis, tickangle: 0 }, yaxis: axis, margin: { l: 12, r: 12, t: 12, b: 12, pad: 4 },
        legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", title: { text: "" } },
        hoverlabel: { bgcolor: css("--surface"), bordercolor: css("--line"), font: { color: css("--ink"), family: css("--sans") } },
        bargap: 0.28, barcornerradius: 4,
        modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--accent") },
      },
    };
  };

  // On a touch screen a toolbar would cover the legend, and dragging must scroll the page.
  const canHover = matchMedia("(hover: hover)").matches;
  const figures = [];
  const draw = ({ plot, figure }) => {
    const { data, layout } = resolve(figure);
    const config = {
      responsive: true, displaylogo: false, displayModeBar: canHover ? "hover" : false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: { format: "svg" },
    };
    const fixed = { template: template(), height: Number(plot.dataset.height), dragmode: canHover ? "zoom" : false };
    return Plotly.react(plot, data, { ...layout, ...fixed }, config);
  };

  const redraw = () => Promise.all(figures.map(draw));

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Browsers refuse the clipboard interface to pages opened from a disk.
      const area = document.body.appendChild(document.createElement("textarea"));
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };

  const cells = (table) => [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim()));
  const asTabs = (rows) => rows.map((row) => row.join("\t")).join("\n");
  const asMarkdown = (rows) => {
    const line = (row) => "| " + row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ") + " |";
    return [line(rows[0]), line(rows[0].map(() => "---")), ...rows.slice(1).map(line)].join("\n");
  };

  // One box for the hints of all tokens, kept inside the window.
  const hint = document.createElement("div");
  hint.id = "hint";
  hint.setAttribute("role", "tooltip");
  hint.hidden = true;
  const show = (token) => {
    hint.hidden = !token;
    if (!token) return;
    hint.textContent = token.dataset.hint;
    const at = token.getClientRects()[0];
    const room = document.documentElement.clientWidth - hint.offsetWidth - 8;
    const above = at.bottom + hint.offsetHeight + 6 > document.documentElement.clientHeight;
    hint.style.left = Math.max(8, Math.min(at.left, room)) + "px";
    hint.style.top = (above ? at.top - hint.offsetHeight - 6 : at.bottom + 6) + "px";
    token.setAttribute("aria-describedby", "hint");
  };
  const hinted = (event) => event.target instanceof Element && event.target.closest("[data-hint]");

  // A line of tokens is one stop of the tab key; arrows, Home and End move within it.
  const move = (event) => {
    const token = hinted(event);
    if (event.key === "Escape") show(null);
    if (!token) return;
    const line = [...token.closest(".line").querySelectorAll("[data-hint]")];
    const here = line.indexOf(token);
    const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: line.length - 1 }[event.key];
    if (to === undefined || !line[to]) return;
    event.preventDefault();
    line.forEach((one) => { one.tabIndex = -1; });
    line[to].tabIndex = 0;
    line[to].focus();
  };

  const start = () => {
    document.body.append(hint);
    document.addEventListener("pointerover", (event) => show(hinted(event)));
    document.addEventListener("focusin", (event) => show(hinted(event)));
    document.addEventListener("focusout", () => show(null));
    // Focus may scroll the window: the hint goes along with the focused token.
    const focused = () => { const at = document.activeElement; return at && at.matches("[data-hint]") ? at : null; };
    document.addEventListener("scroll", () => show(focused()), { passive: true });
    document.addEventListener("keydown", move);
    document.querySelectorAll(".plot").forEach((plot) => {
      const figure = JSON.parse(plot.nextElementSibling.textContent);
      figures.push({ plot, figure });
    });
    redraw().then(() => { document.documentElement.dataset.drawn = String(figures.length); });
    document.querySelectorAll("button[data-format]").forEach((button) => {
      button.addEventListener("click", async () => {
        const rows = cells(button.closest("figure").querySelector("table"));
        await copy(button.dataset.format === "markdown" ? asMarkdown(rows) : asTabs(rows));
        const label = button.textContent;
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = label; }, 1200);
      });
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    matchMedia("print").addEventListener("change", redraw);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
