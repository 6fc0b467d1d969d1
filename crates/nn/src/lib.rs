//! Parameters in one store, a define-by-run tape, MLP modules, distributions, optimisers.
