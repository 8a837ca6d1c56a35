// @ts-check
/** A button that has just appeared takes no click: it may have been meant for what was in its place before. */

/** Calls once what was drawn can be seen: the frame after the next has begun. @param {() => void} then */
const painted = (then) => requestAnimationFrame(() => requestAnimationFrame(then));

/** Unripe from `begin()` until it could be seen for a while. Slow machines paint late, so drawing is not enough. */
export class Settling {
  #round = 0;
  #ripeAt = 0;

  /**
   * @param {number} ms  how long it must be seen
   * @param {(ripe: boolean) => void} tell
   * @param {{ painted: typeof painted, later(then: () => void, ms: number): unknown, now(): number }} [clock]
   */
  constructor(ms, tell, clock = { painted, later: (then, ms) => setTimeout(then, ms), now: () => performance.now() }) {
    this.ms = ms;
    this.tell = tell;
    this.clock = clock;
  }

  begin() {
    const round = this.#round += 1;
    this.#ripeAt = Infinity;
    this.tell(false);
    this.clock.painted(() => {
      if (round !== this.#round) return;
      this.#ripeAt = this.clock.now() + this.ms;
      this.clock.later(() => { if (round === this.#round) this.tell(true); }, this.ms);
    });
  }

  /** Forgets what was begun. */
  end() {
    this.#round += 1;
    this.#ripeAt = 0;
    this.tell(true);
  }

  /** Whether a click counts. It may have waited in a queue: what matters is when it was made. @param {number} at */
  takes(at) {
    return at >= this.#ripeAt;
  }
}
