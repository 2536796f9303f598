/** The load generators' proof that their own accounts can fail: `--self-check`. */
#ifndef BENCH_SELFCHECK_H
#define BENCH_SELFCHECK_H

/** Runs the checks of what all generators share, prints what is wrong. Returns how many failed. */
int bench_selfcheck(void);

#endif
