"""Settings of every test in the repository."""

import torch

# Two test processes share two cores, and results must not depend on the number of threads.
torch.set_num_threads(1)
