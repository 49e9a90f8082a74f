"""The load generators, the baselines, and the programs that measure beside them."""
