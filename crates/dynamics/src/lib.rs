//! One probabilistic ensemble, three directions: forward, reverse, inverse; and the CVAE of actions.
