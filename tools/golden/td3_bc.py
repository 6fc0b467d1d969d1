"""TD3+BC (arXiv:2106.06860): TD3, its actor's loss weighed by the size of Q, plus a cloning term."""

from td3 import record

record("td3_bc", True)
