(() => {
  "use strict";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const config = read("chart-config");
  const toDark = read("dark-colours");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // Charts are written in the light colours; data are left as they are.
  const recolour = (value, key) => {
    if (key === "data" || key === "datasets") return value;
    if (typeof value === "string") return toDark[value] ?? value;
    if (Array.isArray(value)) return value.map((part) => recolour(part));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, recolour(part, name)]));
    return value;
  };

  const draw = async (place) => {
    const spec = read(place.dataset.spec);
    const wide = place.clientWidth >= (spec.usermeta?.from ?? 520);  // px: names stand on one line
    spec.config = { ...config, params: [{ name: "wide", value: wide }] };
    if (wide) spec.height = spec.usermeta?.wide ?? spec.height;
    place.dataset.width = place.clientWidth;
    try {
      await vegaEmbed(place, dark.matches ? recolour(spec) : spec, {
        mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false,
        tooltip: { theme: dark.matches ? "dark" : "light" },
      });
      return 1;
    } catch (error) {
      place.textContent = "This chart could not be drawn; its numbers are in the table below it.";
      console.error(place.dataset.spec, error);
      return 0;
    }
  };

  const drawAll = async () => {
    const drawn = await Promise.all([...document.querySelectorAll(".chart")].map(draw));
    document.documentElement.dataset.charts = String(drawn.reduce((sum, one) => sum + one, 0));
  };
  dark.addEventListener("change", drawAll);
  // A folded chart may have been drawn without a width: it is drawn again when its fold is opened.
  document.querySelectorAll("details").forEach((fold) => fold.addEventListener("toggle", () => {
    for (const place of fold.querySelectorAll(".chart"))
      if (fold.open && Number(place.dataset.width) !== place.clientWidth) draw(place);
  }));
  let across = window.innerWidth;
  window.addEventListener("resize", () => {
    if (Math.abs(window.innerWidth - across) > 40) { across = window.innerWidth; drawAll(); }
  });
  drawAll();
})();
