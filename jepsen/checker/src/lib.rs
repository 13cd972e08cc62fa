//! Pure checkers of histories against the promises of the store and the cluster.
