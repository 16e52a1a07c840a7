"""What a worker of a Ray for one run imports before its first call: it leaves out what none of our calls needs.

Ray prepares each process to send objects of pydantic, starlette and its own data sets, and imports the first two for
that: 0.1 CPU-seconds a process. `lean_ray.py` names this module to the Ray that it starts, and to no other.
"""

import gc

import ray.util.serialization_addons

ray.util.serialization_addons.apply = lambda context: None
# Ray's modules stay: the garbage collector need not look through them while ours are imported, 0.05 CPU-seconds.
gc.freeze()
