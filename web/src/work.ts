// Work in slices: what takes long is a generator that stops for breath, and a desk runs several of them in turn.

/** Something long; it yields wherever it may be interrupted, every few milliseconds. */
export type Work<T> = Generator<undefined, T, undefined>;

/** Does all of it at once. */
export function finished<T>(work: Work<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

interface Job {
  work: Work<unknown>;
  urgency: number;
  signal: AbortSignal | undefined;
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

/** Does the most urgent work first, first come first served among equals, a slice at a time. */
export class Desk {
  private jobs: Job[] = [];
  private isBusy = false;
  private slice: number;
  private breathe: (then: () => void) => void;

  /** A slice takes `slice` ms; `breathe` lets others have a turn, then calls back. */
  constructor(slice: number, breathe: (then: () => void) => void) {
    this.slice = slice;
    this.breathe = breathe;
  }

  /** Does the work; given up, it fails as `fetch` does. */
  do<T>(work: Work<T>, urgency: number, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.jobs.push({ work, urgency, signal, resolve: resolve as (value: unknown) => void, reject });
      if (this.isBusy) return;
      this.isBusy = true;
      this.breathe(() => this.turn());
    });
  }

  private turn(): void {
    const until = performance.now() + this.slice;
    while (performance.now() < until) {
      const job = this.next();
      if (job === null) {
        this.isBusy = false;
        return;
      }
      this.step(job);
    }
    this.breathe(() => this.turn());
  }

  /** The next job that has not been given up; null when none is left. */
  private next(): Job | null {
    for (const job of this.jobs.filter((job) => job.signal?.aborted)) this.end(job, () => job.reject(job.signal!.reason));
    return this.jobs.reduce<Job | null>((best, job) => (best === null || job.urgency > best.urgency ? job : best), null);
  }

  private step(job: Job): void {
    try {
      const step = job.work.next();
      if (step.done === true) this.end(job, () => job.resolve(step.value));
    } catch (error) {
      this.end(job, () => job.reject(error));
    }
  }

  private end(job: Job, tell: () => void): void {
    this.jobs.splice(this.jobs.indexOf(job), 1);
    tell();
  }
}

/** Lets messages and pictures have a turn; quicker than a timer, whose pauses are stretched. */
export function breathing(): (then: () => void) => void {
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()!();
  return (then) => {
    waiting.push(then);
    port2.postMessage(null);
  };
}
