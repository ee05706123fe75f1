// When 120 frames were drawn while the picture is dragged, in ms.
new Promise(done => {
    const times = [];
    const step = t => {
        times.push(t); pan(3, -7);
        if (times.length < 120) requestAnimationFrame(step); else done(times);
    };
    requestAnimationFrame(step);
})
