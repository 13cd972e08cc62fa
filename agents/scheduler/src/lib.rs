//! The scheduler: queue, filter, score, assume, bind.
