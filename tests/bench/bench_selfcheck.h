/** The load generator's proof that its own accounts can fail: `bosh_load --self-check`. */
#ifndef BENCH_SELFCHECK_H
#define BENCH_SELFCHECK_H

/** Runs all checks, prints what is wrong. Returns how many failed. */
int bench_selfcheck(void);

#endif
