//! Selectors: which objects a list, a watch, a Service or a workload is about.

mod field;
mod label;
mod names;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{LabelRequirement, LabelSelector, Operator};
pub use names::{is_label_value, is_qualified_name};
