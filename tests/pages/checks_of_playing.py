"""Pages play, stop, step and obey the keys."""

import re
import time

from pages import check, close, need


@check
def plays_to_the_end(pages):
    """By itself after loading, each frame later than the last; and stops there."""
    for name in ("line", "plane", "space", "ten"):
        pages.open(name)
        pages.choose("speed", "2")
        frames = []
        for _ in range(200):
            frames.append(pages.frame())
            if not pages.run("return window.attnflow.state.playing"):
                break
            time.sleep(0.05)
        need(frames == sorted(frames), name, "went back while playing:", frames)
        need(len(set(frames)) > 3, name, "did not move:", frames)
        pages.browser.frames(2)
        last = pages.numbers(name).m - 1
        need(pages.frame() == last, name, "ended at frame", pages.frame())
        need(float(pages.run("return document.getElementById('scrub').value")) == last, name, "the scrub bar")
        pages.fine(name)


@check
def scrub_step_and_clock(pages):
    """The scrub bar sets the time shown; steps are of one moment; the clock says the time."""
    numbers = pages.numbers("plane")
    pages.open("plane")

    def clock():
        text = pages.run("return document.getElementById('clock').textContent").replace("\N{MINUS SIGN}", "-")
        return float(re.search(r"t = (-?[\d.]+)", text)[1])

    for frame in (0, 30, 60, 12):
        pages.scrub_to(frame)
        need(not pages.run("return window.attnflow.state.playing"), "still playing after scrubbing")
        close(pages.frame(), frame, 1e-9, "the frame")
        close(clock(), numbers.times[frame], 0.002 * numbers.times[-1], "the clock")
    # By hand: the middle of the bar is the middle of the run.
    bar = pages.show("scrub")
    pages.browser.drag((bar["x"] + 0.2 * bar["w"], bar["y"] + bar["h"] / 2),
                       (bar["x"] + 0.5 * bar["w"], bar["y"] + bar["h"] / 2))
    pages.browser.frames(2)
    close(pages.frame(), 30, 1.5, "after a drag to the middle, the frame")
    pages.scrub_to(12)
    pages.browser.click("forth")
    pages.browser.frames(2)
    need(pages.frame() == 13, "one step forth gives", pages.frame())
    pages.browser.click("back")
    pages.browser.click("back")
    pages.browser.frames(2)
    need(pages.frame() == 11, "two steps back give", pages.frame())
    pages.scrub_to(11.5)
    pages.browser.click("forth")
    pages.browser.frames(2)
    need(pages.frame() == 12, "a step forth from between two moments gives", pages.frame())
    for fragment, frame in (("frame=7", 7), ("t=2", 30)):
        pages.open("plane", fragment)
        close(pages.frame(), frame, 1e-6, "#" + fragment)
        need(not pages.run("return window.attnflow.state.playing"), "#" + fragment, "plays")


@check
def speed_and_loop(pages):
    """Twice the speed is twice the frames; with the loop on, the end is followed by the start."""
    pages.open("frames 1000", "frame=0", wait=60)  # 200 moments, so that a second is not the whole run

    def rate(speed):
        pages.scrub_to(0)
        pages.choose("speed", speed)
        # Frames a second of the page's clock, in which a frame counts for a tenth of a second at most.
        return pages.browser.run_later("""
            const done = arguments[0], state = window.attnflow.state;
            document.getElementById('play').click();
            requestAnimationFrame(first => {
              const from = state.frame;
              let last = first, passed = 0;
              const go = now => {
                passed += Math.min(now - last, 100);
                last = now;
                if (passed < 700) { requestAnimationFrame(go); return; }
                document.getElementById('play').click();
                done((state.frame - from) / passed);
              };
              requestAnimationFrame(go);
            });""")

    slow, fast = rate("1"), rate("4")
    close(fast / slow, 4, 0.4, "4x against 1x")
    pages.open("causal")
    pages.choose("speed", "8")
    pages.browser.click("loop")
    need(pages.run("return document.getElementById('loop').getAttribute('aria-pressed')") == "true", "loop is not on")
    if not pages.run("return window.attnflow.state.playing"):
        pages.browser.click("play")
    seen, end = [], time.monotonic() + 20
    while time.monotonic() < end and not any(a > b for a, b in zip(seen, seen[1:])):
        seen.append(pages.frame())
    need(any(a > b for a, b in zip(seen, seen[1:])), "never went back to the start")
    need(pages.run("return window.attnflow.state.playing"), "stopped in spite of the loop")


@check
def keys(pages):
    """Each key that the page lists."""
    pages.open("plane", "frame=20")
    state = lambda name: pages.run("return window.attnflow.state[arguments[0]]", name)  # noqa: E731

    def press(*names, **more):
        pages.browser.press(*names, **more)
        pages.browser.frames(2)

    for names, more, frame in ((["ArrowRight"], {}, 21), (["ArrowLeft", "ArrowLeft"], {}, 19), (["Home"], {}, 0),
                               (["ArrowRight"], {"shift": True}, 10), (["End"], {}, 60)):
        press(*names, **more)
        need(pages.frame() == frame, names, "gives frame", pages.frame())
    press("Home")
    press(" ")
    need(state("playing"), "space does not play")
    press(" ")
    need(not state("playing"), "space does not pause")
    press("l")
    need(state("loop"), "l does not loop")
    before = state("speed")
    press("+")
    need(state("speed") == 2 * before, "+ gives speed", state("speed"))
    press("-", "-")
    need(state("speed") == before / 2, "- gives speed", state("speed"))
    for key, name in (("h", "hull"), ("f", "fit"), ("t", "tails")):
        before = state(name)
        press(key)
        need(state(name) != before, key, "does not change", name)
    theme = lambda: pages.run("return document.documentElement.dataset.theme")  # noqa: E731
    before = theme()
    press("d")
    need(theme() != before, "d does not change the theme")
    pages.fine("keys:")
