//! The Kubernetes object model: schema registry, codecs, defaulting, quantities, selectors.
