// Boxes that stand on each other, that lie outside of the group that they are in, or in one that they are not in; and
// arrows that lead nowhere.
(() => {
    const all = [...placed.boxes].map(([i, box]) => ({ i, ...box })).sort((a, b) => a.y - b.y), found = [];
    const hit = (a, b) => a.x < b.x + b.width - 1 && b.x < a.x + a.width - 1 && a.y < b.y + b.height - 1 && b.y < a.y + a.height - 1;
    const holds = (a, b) => a.x < b.x + 1 && a.y < b.y + 1 && a.x + a.width > b.x + b.width - 1 && a.y + a.height > b.y + b.height - 1;
    const within = (i, group) => { for (let up = now.items[i].up; up >= 0; up = now.items[up].up) if (up === group) return true; return false; };
    all.forEach((a, n) => {
        for (let m = n + 1; m < all.length && all[m].y < a.y + a.height; m++) {
            const b = all[m], [outer, inner] = within(b.i, a.i) ? [a, b] : [b, a];
            if (within(inner.i, outer.i) ? laneOf(inner.i) === laneOf(outer.i) && !holds(outer, inner) : hit(a, b))
                found.push(now.items[a.i].text[0] + " and " + now.items[b.i].text[0]);
        }
    });
    for (const arrow of placed.arrows) if (arrow.points && !arrow.points.every(p => isFinite(p.x) && isFinite(p.y))) found.push(arrow.key);
    return found;
})()
