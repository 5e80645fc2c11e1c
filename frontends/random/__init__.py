"""How are random numbers drawn?  By explicit keys: every function is a pure function of a key, with JAX's names.

A key is an array uint32[2]. The bits behind everything are those of Threefry-2x32 with 20 rounds (Salmon, Moraes,
Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a block cipher of the position under the key. They
are the same for every number of threads, at once and compiled, and element i does not depend on how many there are.
What is made of them by arithmetic that is exact (uniform in [0, 1), bernoulli, randint, permutation ...) is, too; what
takes a logarithm (normal, gumbel ...) may differ in its last bits between NumPy, which computes outside of traces, and
compiled code. Use a key once: `split` and `fold_in` make new ones.
"""

from .continuous import (beta, cauchy, dirichlet, exponential, gamma, gumbel, laplace, logistic, normal,
                         truncated_normal, uniform)
from .counts import binomial, poisson
from .discrete import bernoulli, categorical, choice, permutation, rademacher, randint, shuffle
from .keys import PRNGKey, bits, fold_in, key, split

__all__ = ["PRNGKey", "bernoulli", "beta", "binomial", "bits", "categorical", "cauchy", "choice", "dirichlet",
           "exponential", "fold_in", "gamma", "gumbel", "key", "laplace", "logistic", "normal", "permutation",
           "poisson", "rademacher", "randint", "shuffle", "split", "truncated_normal", "uniform"]
