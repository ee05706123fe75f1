// Shapes beside arrows that touch a line, a box or each other, and arrows that cut a box, as the browser has drawn them.
(() => {
    const found = [], box = e => { const { x, y, width, height } = e.getBBox(); return { x, y, right: x + width, bottom: y + height }; };
    const hit = (a, b) => a.x < b.right && b.x < a.right && a.y < b.bottom && b.y < a.bottom;
    const texts = [...document.querySelectorAll("#scene .shape")].map(e => ({ text: e.textContent, ...box(e) }));
    const rects = [...document.querySelectorAll("#scene .node rect")].map(rect => ({ i: rect.parentNode.dataset.i, ...box(rect) }));
    const lines = [...document.querySelectorAll("#scene .edge:not(.kept)")].map(line => {
        const points = [];
        for (let at = 0, long = line.getTotalLength(); at <= long; at += 3) points.push(line.getPointAtLength(at));
        return { name: line.dataset.from + ">" + line.dataset.to, points, ends: [line.dataset.from, line.dataset.to] };
    });
    for (const [n, shape] of texts.entries()) {
        if (rects.some(rect => hit(shape, rect))) found.push(shape.text + " on a box");
        if (texts.some((other, m) => m < n && hit(shape, other))) found.push(shape.text + " on another");
        for (const { name, points } of lines)
            if (points.some(({ x, y }) => hit(shape, { x, y, right: x, bottom: y }))) found.push(shape.text + " on " + name);
    }
    const inner = (rect, { x, y }) => x > rect.x + 1 && x < rect.right - 1 && y > rect.y + 1 && y < rect.bottom - 1;
    for (const { name, points, ends } of lines)
        for (const rect of rects) if (!ends.includes(rect.i) && points.some(p => inner(rect, p))) found.push(name + " through " + rect.i);
    return found;
})()
