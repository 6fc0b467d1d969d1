//! Rolling a policy through a model, forwards or backwards, into a ring of transitions.
