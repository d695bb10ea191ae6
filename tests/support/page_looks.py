"""What is looked for in an open page, as JavaScript; `LEAST` in it is replaced by the contrast that is asked for."""

OVERLAPS = """[...document.querySelectorAll('.chart')].flatMap(c => {
    const boxes = [...c.querySelectorAll('svg text')].filter(t => t.textContent.trim() && getComputedStyle(t).opacity > 0)
        .filter(t => Math.abs(t.getScreenCTM().b) < 1e-6).map(t => [t.textContent, t.getBoundingClientRect()]);
    return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([, b]) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 6
    ).map(([other]) => c.dataset.spec + ': ' + one + ' | ' + other));
})"""
"""Labels of one chart that lie on each other."""
CONTRASTS = """(() => {
    const parts = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
    const behind = e => { for (; e; e = e.parentElement) {
        const c = parts(getComputedStyle(e).backgroundColor);
        if (c.length === 3 || c[3] > 0) return c;
    } return [255, 255, 255]; };
    return [...document.querySelectorAll('main *, nav *')].filter(e => !e.closest('svg') && e.checkVisibility()
        && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).flatMap(e => {
        const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        return ratio < LEAST ? [ratio.toFixed(2) + ': ' + e.textContent.trim().slice(0, 40)] : [];
    });
})()"""
"""Text outside charts that is too faint for what is behind it."""
CONTRASTS_OF_CHARTS = r"""(() => {
    const parts = c => (c.match(/[\d.]+/g) || []).map(Number);
    const over = (top, share, under) => under.map((v, k) => share * top[k] + (1 - share) * v);
    const light = c => c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
    const solid = (e, name) => { const c = parts(getComputedStyle(e)[name]);
        return c.length < 3 ? [[0, 0, 0], 0] : [c.slice(0, 3), c[3] ?? 1]; };
    const seen = (e, stop) => { let share = 1;
        for (; e && e !== stop; e = e.parentElement) share *= Number(getComputedStyle(e).opacity); return share; };
    const paper = e => { for (; e; e = e.parentElement) {
        const [c, share] = solid(e, 'backgroundColor'); if (share > 0) return c; } return [255, 255, 255]; };
    return [...document.querySelectorAll('.chart')].filter(c => c.checkVisibility()).flatMap(chart => {
        const base = paper(chart), all = [...chart.querySelectorAll('svg path, svg rect, svg text')];
        return all.flatMap((text, at) => {
            if (text.tagName !== 'text' || !text.textContent.trim()) return [];
            const share = seen(text, chart) * Number(getComputedStyle(text).fillOpacity) * solid(text, 'fill')[1];
            if (share === 0) return [];
            const box = text.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
            let behind = base;
            for (const mark of all.slice(0, at)) {
                if (mark.tagName === 'text' || !mark.isPointInFill) continue;
                const [colour, alpha] = solid(mark, 'fill');
                const whole = alpha * seen(mark, chart) * Number(getComputedStyle(mark).fillOpacity);
                if (!whole) continue;
                const to = mark.getScreenCTM().inverse(), point = new DOMPoint(x, y).matrixTransform(to);
                if (mark.isPointInFill(point)) behind = over(colour, whole, behind);
            }
            const ink = over(solid(text, 'fill')[0], share, behind);
            const [a, b] = [light(ink), light(behind)], ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            const told = [ratio.toFixed(2), text.textContent, ink.map(Math.round), 'on', behind.map(Math.round)];
            return ratio < LEAST ? [chart.dataset.spec + ': ' + told.join(' ')] : [];
        });
    });
})()"""
"""The same of text in charts: behind it are the filled marks that were drawn before it, and the page."""
