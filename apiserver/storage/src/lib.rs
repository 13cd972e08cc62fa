//! The only part of the API server that knows the store: get, list, watch, guaranteed_update.
