"""What a frame costs: measured, not judged."""

import time

from pages import check, need


@check
def frame_times(pages):
    """Prints what a frame costs the page's own script, while it plays and turns; 16 ms is the aim."""
    for name in ("1000", "1000 with P", "5000", "20000"):
        started = time.monotonic()
        pages.open("frames " + name, wait=120)
        opened = time.monotonic() - started
        if not pages.run("return window.attnflow.state.playing"):
            pages.browser.click("play")
        pages.run("window.attnflow.frameTimes.length = 0; document.getElementById('loop').click()")
        started = time.monotonic()
        pages.browser.frames(120)
        took = time.monotonic() - started
        times = sorted(pages.run("return Array.from(window.attnflow.frameTimes)"))
        need(len(times) >= 50, "only", len(times), "frame times")
        size = pages.folder.joinpath(f"frames {name}.html").stat().st_size / 1e6
        print(f"     {name} points, 200 moments: script {times[len(times) // 2]:.1f} ms a frame (median), "
              f"{times[int(0.95 * len(times))]:.1f} ms (95 %), {120 / took:.0f} frames a second, "
              f"opened in {opened:.1f} s, {size:.1f} MB")
        pages.shot("frames_" + name)
        pages.fine("frames " + name)
