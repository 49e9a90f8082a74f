"""`python -m bench`: what the product costs and how fast it is, measured against baselines in the same run.

`cli.py` asks, `part.py` says what a part is, each part measures one thing in a `TestBed` (`bed.py`, which starts the real
servers), `results.py` writes tables, `pictures.py` draws. Linux only: CPU and memory are read from /proc.
"""
