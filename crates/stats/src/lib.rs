//! Normalised scores, interquartile means, bootstrap intervals, probability of improvement.
