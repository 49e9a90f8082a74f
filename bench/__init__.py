"""`python -m bench`: the cost and the speed of the product, each figure beside a baseline of the same run.

`__main__.py` is the command line. Each module of `cases/` has one `Benchmark`, which measures in a `TestBed` of real
servers. `load/` has the load generators and the baselines, `report/` writes tables and pictures to `results/`.
Linux only: CPU and memory are read from /proc.
"""
