import os

# Before torch is imported: its threads and those of other jobs would fight for two cores. Subprocesses inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
